"""The whole table of pingmesh by one command, on one pinned core and loopback only:

    python -m benchmarks.pingmesh [targets [rounds]]

ICMP to 10,000 and 2,500 targets per 10 s beside fping in the same run; with a CPU hog on the same
core; bursts; twice what it can do; HTTP beside httpx and blackbox_exporter; a whole agent, alone
and scraped without pause; the controller. An idle machine and a quarter of an hour are needed.
"""

import asyncio
import itertools
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks import controller, pingmesh_agent, pingmesh_http
from benchmarks.tables import Table, markdown
from exporter.clock import SystemClock
from pingmesh.flight import ANSWERED, Flight
from pingmesh.guard import Guard
from pingmesh.packetlane import PacketLane, Settings
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import Outcome, Probe, probes
from pingmesh.resolve import Resolver, SystemLookup
from pingmesh.schedule import Plan

FPING = Path(__file__).resolve().parent.parent / ".cache" / "peers" / "usr" / "bin" / "fping"
PERIOD = 10.0
BURST, BURSTS = 80_000, 5
OVERLOAD_ROUNDS = 3
CORE = max(os.sched_getaffinity(0))


def hosts(count: int) -> list[str]:
    return [f"127.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(1, count + 1)]


def listed(count: int) -> list[Probe]:
    text = "mesh: {a: {ips: [" + ", ".join(hosts(count)) + "]}}"
    return probes(targets(read_pinglist(text.encode())))


def cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def rss_mb() -> float:
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in x]
    return int(line.split()[1]) / 1024


class Rounds:
    """What each round cost, in CPU seconds of this process, and its round trips."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.cpu: list[float] = []
        self.rtts: list[float] = []
        self.lateness: list[float] = []
        self.lost = 0
        self.sending = 0.0
        self.done = asyncio.Event()
        self._last = cpu_seconds()

    def __call__(
        self,
        probes: Sequence[Probe],
        flight: Flight,
        plan: Plan,
        lateness: float,
        outcomes: Mapping[int, Outcome],
    ) -> None:
        now = cpu_seconds()
        self.cpu.append(now - self._last)
        self._last = now
        self.rtts += [rtt for rtt in flight.rtts if rtt == rtt]
        self.lost += len(flight.reasons)
        self.lateness.append(lateness)
        self.sending = max(flight.sent_at) - min(flight.sent_at)
        if len(self.cpu) == self.count:
            self.done.set()


async def run_rounds(count: int, rounds: int, period: float = PERIOD) -> Rounds:
    made = listed(count)
    resolver = Resolver(SystemClock(), SystemLookup(), socket.AF_INET)
    found = Rounds(rounds)
    lane = PacketLane(made, Settings(period, 2.0, 1e6, floor=period), Guard(), resolver, found)
    lane.start()
    await found.done.wait()
    lane.stop()
    return found


def child(kind: str, *arguments: int) -> list[float]:
    """The figures of one run in a process of its own on the last core."""
    words = [sys.executable, "-m", "benchmarks.pingmesh", f"--{kind}", *map(str, arguments)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def pin() -> None:
    os.sched_setaffinity(0, {CORE})


def our_rounds(count: int, rounds: int) -> list[float]:
    """CPU share, p50 and p99 in µs, worst lateness in ms, lost, RSS in MB."""
    found = asyncio.run(run_rounds(count, rounds + 1))
    rtts = sorted(found.rtts)
    return [
        median(found.cpu[1:]) / PERIOD * 100,
        rtts[len(rtts) // 2] * 1e6,
        rtts[len(rtts) * 99 // 100] * 1e6,
        max(found.lateness) * 1e3,
        float(found.lost),
        rss_mb(),
    ]


def our_burst(count: int) -> list[float]:
    """Probes per second where all are due at once, and what was lost."""

    async def main() -> list[float]:
        found = await run_rounds(count, 1, period=1e-3)
        return [count / found.sending, float(found.lost)]

    return asyncio.run(main())


def fping(count: int, rounds: int) -> tuple[float, float, float]:
    """CPU share, p50 and p99 in µs: the same targets, spread over the same period."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("\n".join(hosts(count)))
        file.flush()
        before = cpu_seconds(resource.RUSAGE_CHILDREN)
        milliseconds = f"{PERIOD * 1000 / count:g}"
        period = f"{PERIOD * 1000:g}"
        words = ["taskset", "-c", str(CORE), str(FPING), "-q", "-C", str(rounds)]
        words += ["-p", period, "-i", milliseconds, "-t", "2000", "-f", file.name]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    spent = cpu_seconds(resource.RUSAGE_CHILDREN) - before
    rtts = sorted(float(word) for word in re.findall(r"(?<= )[0-9.]+(?=\s)", done.stderr + "\n"))
    return (
        spent / (PERIOD * rounds) * 100,
        rtts[len(rtts) // 2] * 1e3,
        rtts[len(rtts) * 99 // 100] * 1e3,
    )


@contextmanager
def hog() -> Iterator[None]:
    """Something that always wants the core."""
    words = ["taskset", "-c", str(CORE), sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(words) as process:
        try:
            yield
        finally:
            process.kill()


def overload(count: int, rate: int) -> list[float]:
    """Rounds that ask for `rate` probes a second: how many times longer than asked for they took,
    probes without answer or reason, probes with a reason, answers the kernel had no room for."""

    async def main() -> list[float]:
        period = count / rate
        resolver = Resolver(SystemClock(), SystemLookup(), socket.AF_INET)
        settings = Settings(period, 2.0, 1e9, floor=period)
        flights: list[tuple[Flight, float]] = []
        done = asyncio.Event()

        def publish(_: object, flight: Flight, plan: Plan, *rest: object) -> None:
            flights.append((flight, plan.start))
            if len(flights) == OVERLOAD_ROUNDS + 1:
                done.set()

        lane = PacketLane(listed(count), settings, Guard(), resolver, publish)
        lane.start()
        await done.wait()
        lane.stop()
        starts = [start for _, start in flights]
        took = [later - earlier for earlier, later in itertools.pairwise(starts)]
        reasons = sum(len(flight.reasons) for flight, _ in flights)
        silent = sum(
            flight.count - len(flight.reasons) - flight.states.count(ANSWERED)
            for flight, _ in flights
        )
        return [median(took) / period, float(silent), float(reasons), float(lane.overflow)]

    return asyncio.run(main())


def icmp_rows(count: int, rounds: int) -> Iterator[tuple[str, ...]]:
    """What, CPU, p50, p99, latest send, lost, RSS, goal."""
    for many, goal in ((count, "≤ 1.1 × fping, p50 ≤ fping"), (count // 4, "≤ 1.2 %")):
        share, p50, p99, late, lost, rss = child("rounds", many, rounds)
        yield (
            f"ours, {many:,} targets", f"{share:.2f} %", f"{p50:.1f} µs", f"{p99:.1f} µs",
            f"{late:.0f} ms", f"{lost:g}", f"{rss:.1f} MB", goal,
        )  # fmt: skip
        if FPING.exists():
            share, p50, p99 = fping(many, rounds)
            yield (
                f"fping, {many:,} targets", f"{share:.2f} %", f"{p50:.1f} µs", f"{p99:.1f} µs",
                "", "", "", "",
            )  # fmt: skip
        if many == count:
            with hog():
                share, p50, hogged, late, lost, rss = child("rounds", many, rounds)
            yield (
                f"ours, {many:,} targets, a hog on the core", f"{share:.2f} %", f"{p50:.1f} µs",
                f"{hogged:.1f} µs", f"{late:.0f} ms", f"{lost:g}", f"{rss:.1f} MB",
                "p99 ≤ 2 × without",
            )  # fmt: skip


def strain_rows() -> Iterator[tuple[str, ...]]:
    bursts = [child("burst", BURST) for _ in range(BURSTS)]
    rate = median(burst[0] for burst in bursts)
    lost = sum(burst[1] for burst in bursts)
    yield f"a burst of {BURST:,}", f"{rate:,.0f} probes/s, {lost:g} lost", "≥ 80,000/s"
    stretch, silent, reasons, overflow = child("overload", BURST, int(2 * rate))
    yield (
        f"{2 * rate:,.0f} probes/s asked for",
        f"rounds {stretch:.2f} times as long; {reasons:g} lost with a reason, {silent:g} without, "
        f"{overflow:g} answers dropped by the kernel",
        "rounds stretch, nothing silent",
    )


def measure(count: int, rounds: int) -> Iterator[Table]:
    before = load()
    head = ("what", "CPU", "p50", "p99", "latest send", "lost", "RSS", "goal")
    rows = (*icmp_rows(count, rounds), *pingmesh_agent.rows(rounds, CORE, hosts(count)))
    yield Table(
        f"Pingmesh: ICMP targets per {PERIOD:g} s on one core",
        head,
        rows,
        (
            f"Medians of {rounds} rounds after a first, the latest send of any; all targets in "
            f"127.0.0.0/8. Load average {before} before, {load()} after, own work included.",
        ),
    )
    http = pingmesh_http.rows(rounds, CORE)
    yield Table(
        "Pingmesh: bursts, overload, HTTP",
        ("what", "measured", "goal"),
        (*strain_rows(), *http),
        (
            f"Bursts and HTTP: medians of {BURSTS} and {rounds} turns. HTTP per 1,000 probes. Load "
            f"average {load()} after.",
        ),
    )
    yield controller.measure()


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def main(arguments: Sequence[str]) -> None:
    kind, *rest = arguments or ["10000", "3"]
    numbers = [int(word) for word in rest]
    if kind.startswith("--"):
        pin()
        work = {"--rounds": our_rounds, "--burst": our_burst, "--overload": overload}[kind]
        print(*work(*numbers))  # type: ignore[operator] # each takes what its caller gives
    else:
        print("\n".join(markdown(table) for table in measure(int(kind), *(numbers or [3]))))


if __name__ == "__main__":
    main(sys.argv[1:])
