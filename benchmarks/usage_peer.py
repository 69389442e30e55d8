"""Usage beside prometheus-node-exporter on the same machine in the same run: CPU per scrape of the
same facts and whether they agree; and beside /proc/stat by hand under stress-ng's load, each over
the very same interval, so that it matters not what else runs.

Both programs are unpacked (make .cache/peers/.load), or in PATH; rows whose peer is not there are
left out.
"""

import os
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

from benchmarks import peers
from benchmarks.process import cpu_seconds, resident_mb
from benchmarks.tables import NO_GOAL, Table, at_most, met
from tests.agent.running import Agent, running
from tests.peers import free_port

ROUNDS, SCRAPES = 9, 50
LOADS = (25, 50, 100)
LOAD_INTERVAL, LOAD_TICKS = 5, 4  # of 10 ms clock ticks there are 500 per processor then
HAND_SECONDS = 0.01
COLLECTORS = ("cpu", "meminfo", "diskstats", "netdev", "filesystem", "loadavg", "stat", "pressure")
FACTS = ("node_", "kernmesh_node_")
COUNTERS = {
    'kernmesh_node_cpu_seconds_total{mode="user"}': ("node_cpu_seconds_total", 'mode="user"'),
    'kernmesh_node_cpu_seconds_total{mode="system"}': ("node_cpu_seconds_total", 'mode="system"'),
    'kernmesh_node_cpu_seconds_total{mode="idle"}': ("node_cpu_seconds_total", 'mode="idle"'),
    "kernmesh_node_context_switches_total": ("node_context_switches_total", ""),
    "node_pressure_cpu_waiting_seconds_total": ("node_pressure_cpu_waiting_seconds_total", ""),
    "node_pressure_memory_waiting_seconds_total": (
        "node_pressure_memory_waiting_seconds_total",
        "",
    ),
    "node_pressure_io_waiting_seconds_total": ("node_pressure_io_waiting_seconds_total", ""),
}
PER_DEVICE = {
    "kernmesh_node_disk_read_bytes_total": "node_disk_read_bytes_total",
    "kernmesh_node_disk_written_bytes_total": "node_disk_written_bytes_total",
    "kernmesh_node_net_receive_bytes_total": "node_network_receive_bytes_total",
    "kernmesh_node_net_transmit_bytes_total": "node_network_transmit_bytes_total",
}


class Peer:
    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self._url = process, f"http://127.0.0.1:{port}/metrics"

    def get(self) -> str:
        with urllib.request.urlopen(self._url, timeout=60) as answer:
            return str(answer.read(), "utf-8")


@contextmanager
def node_exporter(binary: str) -> Iterator[Peer]:
    port = free_port()
    flags = [f"--collector.{name}" for name in COLLECTORS]
    process = subprocess.Popen(
        [binary, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", *flags],
        stderr=subprocess.DEVNULL,
    )
    peer = Peer(process, port)
    try:
        while True:
            try:
                peer.get()
                break
            except OSError:
                assert process.poll() is None, "node_exporter ended"
                time.sleep(0.05)
        yield peer
    finally:
        process.kill()
        process.wait()


def samples(text: str) -> dict[str, float]:
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, value in pairs}


def per_scrape(pid: int, get: Callable[[], str]) -> float:
    before = cpu_seconds(pid)
    for _ in range(SCRAPES):
        get()
    return (cpu_seconds(pid) - before) / SCRAPES


def facts_of(agent: Agent) -> str:
    """The query that gets what node_exporter gets: the facts, neither gauges nor programs."""
    names = {
        series.partition("{")[0]
        for series in samples(agent.get("/metrics"))
        if series.startswith(FACTS) and "_usage_" not in series
    }
    return "/metrics?" + "&".join(f"name[]={name}" for name in sorted(names))


def theirs(found: dict[str, float], name: str, label: str) -> float:
    """Summed over processors."""
    return sum(v for s, v in found.items() if s.partition("{")[0] == name and label in s)


def disagreements(agent: Agent, peer: Peer, pause: float) -> tuple[int, list[str]]:
    """A counter of theirs has to lie between two of our samples, one before and one after."""
    before = samples(agent.get("/metrics"))
    time.sleep(pause / 10)
    found = samples(peer.get())
    time.sleep(2 * pause)
    after = samples(agent.get("/metrics"))
    wanted = dict(COUNTERS)
    for ours, name in PER_DEVICE.items():
        for series in before:
            if series.startswith(f"{ours}{{"):
                wanted[series] = (name, series.partition("{")[2].rstrip("}"))
    # Theirs come in the USER_HZ and microseconds that ours are read in: rounding of sums only.
    wrong = [
        series
        for series, (name, label) in wanted.items()
        if not before[series] - 0.03 <= theirs(found, name, label) <= after[series] + 0.03
    ]
    total = abs(
        before['kernmesh_node_memory_bytes{kind="total"}'] - found["node_memory_MemTotal_bytes"]
    )
    return len(wanted) + 1, wrong + (["memory"] if total else [])


def by_hand() -> tuple[int, int]:
    """All and busy ticks of the processors: what stands in /proc/stat, added up."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9]))
    return sum(fields), sum(fields) - fields[3] - fields[4]


class ByHand(threading.Thread):
    """/proc/stat again and again, so that what it said at any of the agent's ticks is known: the
    ticks that the agent has counted tell which moment that was."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._read: list[tuple[int, int]] = []
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(HAND_SECONDS):
            self._read.append(by_hand())

    def at(self, total: float) -> tuple[int, int]:
        return min(self._read, key=lambda read: abs(read[0] - total))

    def end(self) -> None:
        self._end.set()
        self.join()


def next_tick(agent: Agent, before: float) -> tuple[float, float]:
    """All ticks that the agent has counted, and its gauge, when it has read anew."""
    query = "/metrics?name[]=kernmesh_node_cpu_seconds_total&name[]=node_cpu_usage_active"
    while True:
        got = samples(agent.get(query))
        gauge = got.pop("node_cpu_usage_active", None)
        total = sum(got.values()) * os.sysconf("SC_CLK_TCK")
        if gauge is not None and total != before:
            return total, gauge
        time.sleep(0.05)


def under_load(agent: Agent, binary: str, load: int) -> tuple[str, ...]:
    hand = ByHand()
    burner = subprocess.Popen(
        [binary, "--quiet", "--cpu", str(os.cpu_count()), "--cpu-load", str(load)],
        stdout=subprocess.DEVNULL,
        env=peers.environment(),
    )
    try:
        hand.start()
        ticks = [next_tick(agent, 0.0)]
        while len(ticks) < LOAD_TICKS + 2:
            ticks.append(next_tick(agent, ticks[-1][0]))
    finally:
        burner.terminate()
        burner.wait()
    hand.end()
    gauges, hands = [], []
    for (begin, _), (end, gauge) in pairwise(ticks[1:]):
        (total, busy), (total_then, busy_then) = hand.at(begin), hand.at(end)
        gauges.append(gauge)
        hands.append(100.0 * (busy_then - busy) / (total_then - total))
    apart = max(abs(a - b) for a, b in zip(gauges, hands, strict=True))
    goal, holds = at_most(apart, 1, "point")
    return (
        f"stress-ng at {load} %: gauge, /proc/stat by hand ({LOAD_TICKS} ticks)",
        f"{fmean(gauges):.2f} %, {fmean(hands):.2f} %, apart by {apart:.2f} at most",
        goal,
        holds,
    )


@contextmanager
def watching(interval: str) -> Iterator[Agent]:
    """An agent without programs: of what they count, the peer knows nothing."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "agent.yaml"
        config.write_text(
            f"ebpf: {{programs: []}}\nusage: {{interval: {interval}, state_dir: {folder}/state}}\n"
        )
        with running("--config", config) as agent:
            agent.get("/metrics")
            yield agent


def beside(peer_binary: str) -> Iterator[tuple[str, ...]]:
    with watching("1s") as agent, node_exporter(peer_binary) as peer:
        time.sleep(4)
        query = facts_of(agent)
        ours, other = [], []
        for _ in range(ROUNDS):
            ours.append(per_scrape(agent.process.pid, lambda: agent.get(query)))
            other.append(per_scrape(peer.process.pid, peer.get))
        ratio = median(a / b for a, b in zip(ours, other, strict=True))
        goal = at_most(ratio, 1, "× node_exporter's")
        yield "CPU per scrape of the facts", f"{median(ours) * 1e3:.2f} ms, × {ratio:.2f}", *goal
        yield "the same, prometheus-node-exporter", f"{median(other) * 1e3:.2f} ms", *NO_GOAL
        count, wrong = disagreements(agent, peer, 1.0)
        said = ", ".join(wrong) or "all agree"
        yield f"{count} values within one sample", said, "all", met(not wrong)


def rows() -> Iterator[tuple[str, ...]]:
    peer_binary, load_binary = peers.find("prometheus-node-exporter"), peers.find("stress-ng")
    if peer_binary:
        yield from beside(peer_binary)
    if load_binary:
        with watching(f"{LOAD_INTERVAL}s") as agent:
            for load in LOADS:
                yield under_load(agent, load_binary, load)
    with running() as agent:
        for _ in range(10):
            agent.get("/metrics")
        resident = resident_mb(agent.process.pid)
        cells = at_most(resident, 48, "MB")
        yield "RSS of the agent, three programs", f"{resident:.1f} MB", *cells


def measure() -> Table:
    note = (
        f"CPU per scrape: medians of {ROUNDS} rounds of {SCRAPES} each in turn, usage.interval "
        "1 s, the agent's ticks included. Rows without their peer are left out."
    )
    head = ("what", "measured", "goal", "met")
    return Table("Usage beside others", head, tuple(rows()), (note,))
