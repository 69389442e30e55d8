"""Usage beside prometheus-node-exporter (Debian) on the same machine in the same run: CPU per
scrape of the same facts and whether they agree; and beside /proc/stat by hand under load.

Both programs are looked for in PATH; rows whose peer is not there are left out. Load is
stress-ng's, on top of whatever else runs.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.agent import cpu_seconds, resident_mb
from benchmarks.tables import Table, markdown
from tests.agent.running import Agent, running

SCRAPES = 400
LOADS = (25, 50, 100)
SECONDS = 15
COLLECTORS = ("cpu", "meminfo", "diskstats", "netdev", "filesystem", "loadavg", "stat", "pressure")
FACTS = ("node_", "kernmesh_node_")
COUNTERS = {
    'kernmesh_node_cpu_seconds_total{mode="user"}': ("node_cpu_seconds_total", 'mode="user"'),
    'kernmesh_node_cpu_seconds_total{mode="system"}': ("node_cpu_seconds_total", 'mode="system"'),
    'kernmesh_node_cpu_seconds_total{mode="idle"}': ("node_cpu_seconds_total", 'mode="idle"'),
    "kernmesh_node_context_switches_total": ("node_context_switches_total", ""),
    "node_pressure_cpu_waiting_seconds_total": ("node_pressure_cpu_waiting_seconds_total", ""),
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
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
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
    get()
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
    """Busy and all ticks of the processors."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9]))
    return sum(fields) - fields[3] - fields[4], sum(fields)


def after_a_tick(agent: Agent) -> tuple[int, int]:
    query = "/metrics?name[]=kernmesh_node_context_switches_total"
    before = agent.get(query)
    while agent.get(query) == before:
        time.sleep(0.01)
    return by_hand()


def under_load(agent: Agent, binary: str, load: int) -> tuple[str, str, str]:
    """The gauge and the arithmetic over the same seconds, from tick to tick."""
    burner = subprocess.Popen(
        [binary, "--quiet", "--cpu", str(os.cpu_count()), "--cpu-load", str(load)],
        stdout=subprocess.DEVNULL,
    )
    try:
        time.sleep(2)
        busy, total = after_a_tick(agent)
        time.sleep(SECONDS - 0.5)
        busy_then, total_then = after_a_tick(agent)
        shown = agent.get(f"/statistics?window={SECONDS}s")
    finally:
        burner.terminate()
        burner.wait()
    gauge = float(shown.partition(":")[2].partition(",")[0])
    hand = 100.0 * (busy_then - busy) / (total_then - total)
    return (f"stress-ng at {load} %: gauge against /proc/stat by hand",
            f"{gauge:.2f} %, {hand:.2f} %", f"apart by {abs(gauge - hand):.2f} (≤ 1)")  # fmt: skip


def rows() -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "agent.yaml"
        # Without programs: what they count, the peer knows nothing of.
        config.write_text(
            f"ebpf: {{programs: []}}\nusage: {{interval: 1s, state_dir: {folder}/state}}\n"
        )
        with running("--config", config) as agent:
            agent.get("/metrics")
            time.sleep(4)
            pid = agent.process.pid
            peer_binary = shutil.which("prometheus-node-exporter")
            if peer_binary:
                query = facts_of(agent)
                with node_exporter(peer_binary) as peer:
                    ours = per_scrape(pid, lambda: agent.get(query))
                    other = per_scrape(peer.process.pid, peer.get)
                    ratio = f"× {ours / other:.2f} (≤ 1)"
                    yield "CPU per scrape of the facts", f"{ours * 1e3:.2f} ms", ratio
                    yield "the same, prometheus-node-exporter", f"{other * 1e3:.2f} ms", ""
                    count, wrong = disagreements(agent, peer, 1.0)
                    said = ", ".join(wrong) or "all agree"
                    yield f"{count} values within one sample", said, "all"
            load_binary = shutil.which("stress-ng")
            if load_binary:
                for load in LOADS:
                    yield under_load(agent, load_binary, load)
    with running() as agent:
        for _ in range(10):
            agent.get("/metrics")
        resident = resident_mb(agent.process.pid)
        yield "RSS of the agent, three programs", f"{resident:.1f} MB", "≤ 48 MB"


def main(show: Callable[[str], None] = print) -> None:
    note = f"CPU over {SCRAPES} scrapes each; usage.interval 1 s. Rows without their peer left out."
    table = Table("Usage beside others", ("what", "measured", "goal"), tuple(rows()), (note,))
    show(markdown(table))


if __name__ == "__main__":
    main()
