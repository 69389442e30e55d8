"""The controller with 10,000 agents in 200 racks and 3 zones: all pinglists, one node's change,
conditional GETs, memory.

Seconds of building are the CPU's, of one thread; requests are answered by a running
`kernmesh controller` and counted per second of its CPU time, so that what else runs on the machine,
the client above all, does not count.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.tables import Table, markdown
from pingmesh.lists import Lists, Shared
from pingmesh.topology import Member, Topology

NODES, RACK, ZONES = 10_000, 50, 3
AHEAD = 32
REQUESTS = 40_000
TICKS = os.sysconf("SC_CLK_TCK")


def members() -> list[Member]:
    return [
        Member(
            f"node-{i:05d}",
            f"zone-{i // RACK % ZONES}",
            f"rack-{i // RACK:03d}",
            (f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", f"fd00::{i:x}"),
        )
        for i in range(NODES)
    ]


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
    return (
        ("all pinglists from nothing, bytes and digests", f"{median(everything):.2f} s", "≤ 2 s"),
        ("one node less, until it can be asked", f"{median(change) * 1000:.1f} ms", "≤ 50 ms"),
        ("lists that change by that", f"{median(changed)} of {NODES:,}", ""),
        ("all lists asked for after that, on request", f"{median(all_again):.2f} s", ""),
    )


class Controller:
    """A real one in a process of its own."""

    def __init__(self, folder: Path) -> None:
        lines = (
            f"  {m.name}: {{zone: {m.zone}, rack: {m.rack}, ips: {json.dumps(m.addresses)}}}\n"
            for m in members()
        )
        (folder / "inventory.yaml").write_text("nodes:\n" + "".join(lines))
        config = folder / "controller.yaml"
        config.write_text(f"inventory: {folder}/inventory.yaml\n")
        command = ("-m", "exporter.cli", "controller", "--config", str(config))
        self.process = subprocess.Popen(
            [sys.executable, *command, "--web.listen-address", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        screen = "".join(self.process.stdout.readline() for _ in range(3))
        found = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", screen)
        assert found, screen
        self.port = int(found[1])

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


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
    names = [each.name for each in members()]
    with tempfile.TemporaryDirectory() as folder:
        controller = Controller(Path(folder))
        try:
            before = controller.cpu_seconds()
            heads = ask(controller.port, [request(name) for name in names])
            first = len(names) / (controller.cpu_seconds() - before)
            found = (re.search(rb"etag: (\S+)", head) for head in heads)
            etags = [match[1] for match in found if match]
            asked = [request(name, etag) for name, etag in zip(names, etags, strict=True)]
            rates, walls = [], []
            for _ in range(3):
                wall, before = time.monotonic(), controller.cpu_seconds()
                heads = ask(controller.port, asked * (REQUESTS // NODES))
                rates.append(REQUESTS / (controller.cpu_seconds() - before))
                walls.append(REQUESTS / (time.monotonic() - wall))
                assert all(head.startswith(b"HTTP/1.1 304") for head in heads)
            memory = controller.rss_mb()
        finally:
            controller.stop()
    return (
        ("conditional GETs per second of its CPU", f"{median(rates):,.0f}", "≥ 5,000"),
        ("the same per second of the clock, client included", f"{median(walls):,.0f}", ""),
        ("first GETs (made, gzip) per second of its CPU", f"{first:,.0f}", ""),
        ("RSS at its highest", f"{memory:.0f} MB", "≤ 250 MB"),
    )


def measure() -> Table:
    return Table(
        "The controller of 10,000 agents",
        ("", "measured", "goal"),
        (*building(), *serving()),
        (
            f"{NODES:,} nodes, {NODES // RACK} racks, {ZONES} zones. Lists are made when they are "
            "asked for and only their digests are kept; a change drops the digests. One client, "
            f"one connection, {AHEAD} requests ahead.",
        ),
    )


def main(show: Callable[[str], None] = print) -> None:
    show(markdown(measure()))


if __name__ == "__main__":
    main()
