"""NodeFacts of the machine that this process watches: its size and its addresses."""

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

from exporter.ebpf.features import hardware_counters
from exporter.hostfs import HostFs
from exporter.interference.node_facts import NodeFacts

_NO_COUNTERS = (("cpi", "this machine has no hardware counters (no PMU, as in many VMs)"),)


def this_node(host: HostFs) -> NodeFacts:
    """Never fails: memory that cannot be read is what Python knows of it."""
    facts = NodeFacts.of(float(os.cpu_count() or 1), _memory(host))
    missing = () if hardware_counters(host) else _NO_COUNTERS
    return facts._replace(addresses=addresses(host), unavailable=missing)


def _memory(host: HostFs) -> float:
    for line in _lines(host.proc / "meminfo"):
        words = line.split()
        if words[:1] == ["MemTotal:"]:
            return int(words[1]) * 1024.0
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def addresses(host: HostFs) -> frozenset[str] | None:
    """Of all interfaces of the node's network namespace (that of process 1); None where neither
    file can be read.

    Kernel: net/ipv4/fib_trie.c fib_trie_seq_show() ("|-- ADDRESS" above "/32 host LOCAL"),
    net/ipv6/addrconf.c if6_seq_show()."""
    found: set[str] = set()
    folder = host.proc / "1/net"
    before = ""
    for line in _lines(folder / "fib_trie"):
        if "/32 host LOCAL" in line:
            found.add(before.split()[-1])
        before = line
    for line in _lines(folder / "if_inet6"):
        found.add(str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))))
    return frozenset(found) or None


def _lines(path: Path) -> Iterator[str]:
    try:
        text = path.read_text()
    except OSError:
        return
    yield from text.splitlines()
