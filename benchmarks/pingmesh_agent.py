"""A whole agent with 10,000 ICMP targets on one core, alone and while a client on another core
scrapes a family of 100,000 series from it without pause.

The agent is the real command; what each round was is taken from what it publishes to its own
metrics, since those have no bucket under 50 µs.
"""

import http.client
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.process import cpu_seconds, resident_mb
from benchmarks.programs import HERE, compile_bpf
from benchmarks.rounds import LATE_MS
from benchmarks.scrape import WideMap
from benchmarks.tables import met
from tests.agent.running import COMMAND, Agent

TARGETS = 10_000
SERIES = 100_000
GOAL_MB = 52


class Seen(NamedTuple):
    """Medians over rounds, but the worst lateness. Seconds, and megabytes."""

    rounds: int
    p50: float
    p99: float
    lateness: float
    period: float
    lost: int
    cpu_share: float
    rss: float
    scrapes: int


def _launch(record: str, arguments: Sequence[str]) -> int:
    """The agent's command, each finished round of which is a line of JSON in `record`."""
    from exporter.cli import main
    from pingmesh.metrics import Board

    publish = Board.publish

    def noted(self: Board, *given: Any) -> None:
        _, _, _, flight, facts, _ = given
        rtts = sorted(rtt for rtt in flight.rtts if rtt == rtt)
        row = {
            "p50": rtts[len(rtts) // 2], "p99": rtts[len(rtts) * 99 // 100],
            "lateness": facts.lateness, "period": facts.period, "lost": len(flight.reasons),
        }  # fmt: skip
        with Path(record).open("a") as file:
            file.write(json.dumps(row) + "\n")
        publish(self, *given)

    Board.publish = noted  # type: ignore[method-assign,assignment] # to look on, the command is as it is
    return main(list(arguments))


class Watched(Agent):
    """An agent of ours with a record of its rounds, on one core."""

    def __init__(self, config: Path, record: Path, core: int) -> None:
        launcher = (sys.executable, "-m", "benchmarks.pingmesh_agent", str(record))
        listen = ("--web.listen-address", "127.0.0.1:0")
        super().__init__([*listen, "--config", config], ("taskset", "-c", str(core), *launcher))
        self.record = record

    def rounds(self) -> list[dict[str, float]]:
        if not self.record.exists():
            return []
        return [json.loads(line) for line in self.record.read_text().splitlines()]


def _scrape(url: str, stop: threading.Event, counts: list[int]) -> None:
    client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    while not stop.is_set():
        client.request("GET", "/metrics", headers={"Accept-Encoding": "identity"})
        body = client.getresponse().read()
        counts.append(len(body))


def seen(rounds: int, core: int, hosts: Sequence[str], *, scraped: bool) -> Seen:
    """The agent over `rounds` rounds after its first."""
    with tempfile.TemporaryDirectory(dir="/run") as name:
        folder = Path(name)
        listed = "setting: {interval: 10}\nmesh: {a: {ips: [" + ", ".join(hosts) + "]}}"
        (folder / "pinglist.yaml").write_text(listed)
        ebpf = "{programs: []}"
        if scraped:
            compile_bpf("wide", folder)
            shutil.copy(HERE / "wide.yaml", folder)
            ebpf = f"{{programs: [wide], dirs: [{folder}], max_series: {SERIES}}}"
        config = folder / "agent.yaml"
        config.write_text(f"ebpf: {ebpf}\npingmesh: {{pinglist: {folder}/pinglist.yaml}}\n")
        agent = Watched(config, folder / "rounds", core)
        stop, counts = threading.Event(), list[int]()
        scraper: threading.Thread | None = None
        try:
            url = agent.url
            if scraped:
                WideMap().fill(SERIES)
                agent.get("/metrics")
                scraper = threading.Thread(target=_scrape, args=(url, stop, counts))
                scraper.start()
            _until(agent, 1)
            already, cpu = len(agent.rounds()), cpu_seconds(agent.process.pid)
            before = len(counts)
            _until(agent, already + rounds)
            found = agent.rounds()[already : already + rounds]
            spent, scrapes = cpu_seconds(agent.process.pid) - cpu, len(counts) - before
            rss = resident_mb(agent.process.pid)
        finally:
            stop.set()
            if scraper is not None:
                scraper.join()
            agent.stop()
    period = found[0]["period"]
    return Seen(
        len(found),
        median(each["p50"] for each in found),
        median(each["p99"] for each in found),
        max(each["lateness"] for each in found),
        period,
        int(sum(each["lost"] for each in found)),
        spent / (period * len(found)),
        rss,
        scrapes,
    )


def _until(agent: Watched, count: int) -> None:
    pause = threading.Event()
    while len(agent.rounds()) < count:
        assert agent.process.poll() is None, agent.log
        pause.wait(0.1)


def rows(
    rounds: int, core: int, hosts: Sequence[str], peer_p50: float | None
) -> tuple[tuple[str, ...], ...]:
    """What, CPU, p50, p99, latest send, lost, RSS, goal, met. `peer_p50`: fping's, in seconds."""
    quiet = seen(rounds, core, hosts, scraped=False)
    busy = seen(rounds, core, hosts, scraped=True)
    within = quiet.rss <= GOAL_MB and quiet.lateness * 1e3 <= LATE_MS
    in_time = busy.lateness * 1e3 <= LATE_MS
    goal = "no late round"
    if peer_p50 is not None:
        goal += ", p50 ≤ fping"
        within &= quiet.p50 <= peer_p50
        in_time &= busy.p50 <= peer_p50
    scrapes = f"{busy.scrapes} scrapes of {SERIES:,} series"
    words = (
        ("alone", quiet, f"{goal}, RSS ≤ {GOAL_MB} MB", met(within)),
        (scrapes, busy, goal, met(in_time)),
    )
    return tuple(
        (
            f"agent, {len(hosts):,} targets, {what}",
            f"{each.cpu_share * 100:.1f} %",
            f"{each.p50 * 1e6:.1f} µs",
            f"{each.p99 * 1e6:.1f} µs",
            f"{each.lateness * 1e3:.0f} ms",
            f"{each.lost}",
            f"{each.rss:.1f} MB",
            goal,
            held,
        )
        for what, each, goal, held in words
    )


if __name__ == "__main__":
    sys.exit(_launch(sys.argv[1], sys.argv[2 + len(COMMAND) :]))
