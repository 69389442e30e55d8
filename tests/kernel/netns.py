"""Two network namespaces joined by a cable, whose packets can be made to vanish."""

import ctypes
import os
import secrets
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Made = TypeVar("Made")

_CLONE_NEWNET = 0x40000000
_NOBODY = "02:00:00:00:00:99"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Host:
    """One end: a namespace with an IPv4 and an IPv6 address on eth0."""

    def __init__(self, name: str, net: tuple[int, int], number: int) -> None:
        self.name = name
        self.ipv4 = f"10.{net[0]}.{net[1]}.{number}"
        self.ipv6 = f"fd00:{net[0]:x}:{net[1]:x}::{number}"
        self.mac = f"02:00:00:00:07:{number:02x}"
        _ip("netns", "add", name)

    def inside(self, make: Callable[[], Made]) -> Made:
        """What `make` gives when this thread is in the namespace. Sockets stay in it."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            Path("/proc/thread-self/ns/net").open() as home,
            Path(f"/run/netns/{self.name}").open() as there,
        ):
            assert libc.setns(there.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                return make()
            finally:
                assert libc.setns(home.fileno(), _CLONE_NEWNET) == 0

    def counter(self, group: str, name: str) -> int:
        """A counter of this namespace's /proc/net/snmp or netstat, such as Tcp RetransSegs."""
        return self.inside(lambda: self._counter(group, name))

    def _counter(self, group: str, name: str) -> int:
        for file in ("snmp", "netstat"):
            lines = Path(f"/proc/thread-self/net/{file}").read_text().splitlines()
            for names, values in zip(lines[::2], lines[1::2], strict=True):
                if names.split()[0] == f"{group}:" and name in names.split():
                    return int(values.split()[names.split().index(name)])
        raise AssertionError(f"/proc/net has no {group} {name}")

    def reach(self, other: "Host", lost: bool = False) -> None:
        """Packets to the other go to its address, or to one that nobody has."""
        for address in (other.ipv4, other.ipv6):
            _ip(
                *("-n", self.name, "neigh", "replace", address),
                *("lladdr", _NOBODY if lost else other.mac, "dev", "eth0", "nud", "permanent"),
            )

    def send_single_segments(self) -> None:
        """Each segment is a packet by itself, as on a card without segmentation offload."""
        _ip("-n", self.name, "link", "set", "eth0", "gso_max_segs", "1")


@contextmanager
def joined() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other."""
    names = [f"kernmesh-{uuid.uuid4()}" for _ in range(2)]
    # BPF sees every namespace: addresses that no other test run has
    net = (secrets.randbelow(256), secrets.randbelow(256))
    try:
        one, other = Host(names[0], net, 1), Host(names[1], net, 2)
        _ip(
            *("-n", one.name, "link", "add", "eth0", "address", one.mac, "type", "veth"),
            *("peer", "name", "eth0", "address", other.mac, "netns", other.name),
        )
        for host in (one, other):
            _ip("-n", host.name, "addr", "add", f"{host.ipv4}/24", "dev", "eth0")
            _ip("-n", host.name, "addr", "add", f"{host.ipv6}/64", "dev", "eth0", "nodad")
            _ip("-n", host.name, "link", "set", "eth0", "up")
        one.reach(other)
        other.reach(one)
        yield one, other
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
