"""The controller with 10,000 agents in 200 racks and 3 zones: all pinglists, one node's change,
conditional GETs, memory.

Seconds of building are the CPU's, of one thread; requests are answered by a running
`kernmesh controller` and counted per second of its CPU time, so that what else runs on the machine,
the client above all, does not count.
"""

import json
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import role
from benchmarks.big_mesh import NODES, SIZE, members, name_of
from benchmarks.process import cpu_seconds, peak_mb
from benchmarks.tables import NO_GOAL, Table, at_least, at_most, show
from pingmesh.lists import Lists, Shared
from pingmesh.topology import Topology

AHEAD = 32
REQUESTS = 40_000


def building() -> tuple[tuple[str, ...], ...]:
    """Each figure in CPU seconds: everything from nothing; then without one node, as far as the
    controller goes before it answers; then those lists that are different."""
    everybody = members()
    everything, change, all_again, changed = [], [], [], []
    for turn in range(3):
        started = time.process_time()
        topology = Topology(everybody)
        lists = Lists(topology, Shared())
        before = {name: lists.digest(name) for name in topology.names}
        everything.append(time.process_time() - started)
        gone = everybody[turn * 3333]
        left = [each for each in everybody if each is not gone]
        started = time.process_time()
        without = Topology(left, before=topology)
        for id_ in without.racks:
            without.plan(id_)
        later = Lists(without, Shared(), lists)
        change.append(time.process_time() - started)
        started = time.process_time()
        after = {name: later.digest(name) for name in without.names}
        all_again.append(time.process_time() - started)
        changed.append(sum(after[name] != before[name] for name in after))
    made, moved = median(everything), median(change) * 1000
    again = f"{median(all_again):.2f} s"
    return (
        ("all pinglists from nothing, bytes and digests", f"{made:.2f} s", *at_most(made, 2, "s")),
        ("one node less, until it can be asked", f"{moved:.1f} ms", *at_most(moved, 50, "ms")),
        ("lists that change by that", f"{median(changed)} of {NODES:,}", *NO_GOAL),
        ("all lists asked for after that, on request", again, *NO_GOAL),
    )


def ask(port: int, requests: list[bytes]) -> list[bytes]:
    """All on one connection, AHEAD of them before their answers. The answers' heads; bodies are
    passed over."""
    heads: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        stream = sock.makefile("rb")
        for start in range(0, len(requests), AHEAD):
            batch = requests[start : start + AHEAD]
            sock.sendall(b"".join(batch))
            for _ in batch:
                head = b""
                while (line := stream.readline()) != b"\r\n":
                    head += line
                length = re.search(rb"content-length: (\d+)", head)
                stream.read(int(length[1]) if length else 0)
                heads.append(head)
    return heads


def request(name: str, etag: bytes | None = None) -> bytes:
    held = b"if-none-match: " + etag + b"\r\n" if etag else b""
    return (
        f"GET /pinglist/{name} HTTP/1.1\r\nhost: a\r\naccept: application/yaml\r\n"
        "accept-encoding: gzip\r\n".encode()
        + held
        + b"\r\n"
    )


def serving() -> tuple[tuple[str, ...], ...]:
    names = list(map(name_of, range(NODES)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = (
            f"  {m.name}: {{zone: {m.zone}, rack: {m.rack}, ips: {json.dumps(m.addresses)}}}\n"
            for m in members()
        )
        (folder / "inventory.yaml").write_text("nodes:\n" + "".join(lines))
        config = folder / "controller.yaml"
        config.write_text(f"inventory: {folder}/inventory.yaml\n")
        with role.running("controller", config) as controller:
            before = cpu_seconds(controller.pid)
            heads = ask(controller.port, [request(name) for name in names])
            first = len(names) / (cpu_seconds(controller.pid) - before)
            found = (re.search(rb"etag: (\S+)", head) for head in heads)
            etags = [match[1] for match in found if match]
            asked = [request(name, etag) for name, etag in zip(names, etags, strict=True)]
            rates, walls = [], []
            for _ in range(3):
                wall, before = time.monotonic(), cpu_seconds(controller.pid)
                heads = ask(controller.port, asked * (REQUESTS // NODES))
                rates.append(REQUESTS / (cpu_seconds(controller.pid) - before))
                walls.append(REQUESTS / (time.monotonic() - wall))
                assert all(head.startswith(b"HTTP/1.1 304") for head in heads)
            memory = peak_mb(controller.pid)
    rate, by_clock = median(rates), f"{median(walls):,.0f}"
    return (
        ("conditional GETs per second of its CPU", f"{rate:,.0f}", *at_least(rate, 5000)),
        ("the same per second of the clock, client included", by_clock, *NO_GOAL),
        ("first GETs (made, gzip) per second of its CPU", f"{first:,.0f}", *NO_GOAL),
        ("RSS at its highest", f"{memory:.0f} MB", *at_most(memory, 250, "MB")),
    )


def tables() -> Iterator[Table]:
    yield Table(
        "The controller of 10,000 agents",
        ("", "measured", "goal", "met"),
        (*building(), *serving()),
        (
            f"{SIZE}. Lists are made when they are asked for and only their digests are kept; a "
            f"change drops the digests. One client, one connection, {AHEAD} requests ahead.",
        ),
    )


if __name__ == "__main__":
    show(tables())
