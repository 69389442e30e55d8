"""The whole table of pingmesh by one command, on one pinned core and loopback only:

    python -m benchmarks.pingmesh [targets [rounds]]

ICMP to 10,000 and 2,500 targets per 10 s beside fping in the same run; with a CPU hog on the same
core; bursts; twice what it can do; HTTP beside httpx and blackbox_exporter; a whole agent, alone
and scraped without pause. An idle machine and a quarter of an hour are needed.
"""

import asyncio
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

from benchmarks import peers, pingmesh_agent, pingmesh_http
from benchmarks.process import children_cpu_seconds, resident_mb
from benchmarks.rounds import LATE_MS, PERIOD, hosts, lane, run_rounds
from benchmarks.tables import NO_GOAL, Table, at_least, at_most, met, show
from pingmesh.flight import ANSWERED, Flight
from pingmesh.schedule import Plan

BURST, BURSTS = 80_000, 5
OVERLOAD_ROUNDS = 3
CORE = max(os.sched_getaffinity(0))


class Cost(NamedTuple):
    """Percent of a core, µs, ms, MB; None of a peer that tells no such thing."""

    share: float
    p50: float
    p99: float
    late: float | None = None
    lost: float | None = None
    rss: float | None = None

    def row(self, what: str, *goal: str) -> tuple[str, ...]:
        late = "" if self.late is None else f"{self.late:.0f} ms"
        lost = "" if self.lost is None else f"{self.lost:g}"
        rss = "" if self.rss is None else f"{self.rss:.1f} MB"
        share, p50, p99 = f"{self.share:.2f} %", f"{self.p50:.1f} µs", f"{self.p99:.1f} µs"
        return what, share, p50, p99, late, lost, rss, *(goal or NO_GOAL)


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
        resident_mb(),
    ]


def our_burst(count: int) -> list[float]:
    """Probes per second where all are due at once, and what was lost."""

    async def main() -> list[float]:
        found = await run_rounds(count, 1, period=1e-3)
        return [count / found.sending, float(found.lost)]

    return asyncio.run(main())


def fping(program: str, count: int, rounds: int) -> Cost:
    """The same targets, spread over the same period."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("\n".join(hosts(count)))
        file.flush()
        before = children_cpu_seconds()
        milliseconds = f"{PERIOD * 1000 / count:g}"
        period = f"{PERIOD * 1000:g}"
        words = ["taskset", "-c", str(CORE), program, "-q", "-C", str(rounds)]
        words += ["-p", period, "-i", milliseconds, "-t", "2000", "-f", file.name]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    spent = children_cpu_seconds() - before
    rtts = sorted(float(word) for word in re.findall(r"(?<= )[0-9.]+(?=\s)", done.stderr + "\n"))
    return Cost(
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
        flights: list[tuple[Flight, float]] = []
        done = asyncio.Event()

        def publish(_: object, flight: Flight, plan: Plan, *rest: object) -> None:
            flights.append((flight, plan.start))
            if len(flights) == OVERLOAD_ROUNDS + 1:
                done.set()

        running = lane(count, period, publish)
        running.start()
        await done.wait()
        running.stop()
        starts = [start for _, start in flights]
        took = [later - earlier for earlier, later in itertools.pairwise(starts)]
        reasons = sum(len(flight.reasons) for flight, _ in flights)
        silent = sum(
            flight.count - len(flight.reasons) - flight.states.count(ANSWERED)
            for flight, _ in flights
        )
        return [median(took) / period, float(silent), float(reasons), float(running.overflow)]

    return asyncio.run(main())


def icmp_rows(count: int, rounds: int) -> Iterator[tuple[str, ...]]:
    """What, CPU, p50, p99, latest send, lost, RSS, goal, met."""
    program = peers.find("fping")
    ours, few = Cost(*child("rounds", count, rounds)), count // 4
    peer = None if program is None else fping(program, count, rounds)
    goal, holds = "no late round", _in_time(ours)
    if peer is not None:
        goal += ", CPU ≤ 1.1 × fping, p50 ≤ fping"
        holds &= ours.share <= 1.1 * peer.share and ours.p50 <= peer.p50
    yield ours.row(f"ours, {count:,} targets", goal, met(holds))
    if peer is not None:
        yield peer.row(f"fping, {count:,} targets")
    with hog():
        hogged = Cost(*child("rounds", count, rounds))
    holds = hogged.p99 <= 2 * ours.p99
    what = f"ours, {count:,} targets, a hog on the core"
    yield hogged.row(what, "p99 ≤ 2 × without", met(holds))
    fewer = Cost(*child("rounds", few, rounds))
    yield fewer.row(f"ours, {few:,} targets", *at_most(fewer.share, 1.2, "% of a core"))
    if program is not None:
        yield fping(program, few, rounds).row(f"fping, {few:,} targets")
    peer_p50 = None if peer is None else peer.p50 / 1e6
    yield from pingmesh_agent.rows(rounds, CORE, hosts(count), peer_p50)


def _in_time(found: Cost) -> bool:
    return found.late is not None and found.late <= LATE_MS


def strain_rows() -> Iterator[tuple[str, ...]]:
    bursts = [child("burst", BURST) for _ in range(BURSTS)]
    rate = median(burst[0] for burst in bursts)
    lost = sum(burst[1] for burst in bursts)
    goal = at_least(rate, 80_000, "probes/s")
    yield f"a burst of {BURST:,}", f"{rate:,.0f} probes/s, {lost:g} lost", *goal
    stretch, silent, reasons, overflow = child("overload", BURST, int(2 * rate))
    yield (
        f"{2 * rate:,.0f} probes/s asked for",
        f"rounds {stretch:.2f} times as long; {reasons:g} lost with a reason, {silent:g} without, "
        f"{overflow:g} answers dropped by the kernel",
        "rounds stretch, nothing silent",
        met(stretch > 1 and not silent),
    )


def tables(count: int, rounds: int) -> Iterator[Table]:
    head = ("what", "CPU", "p50", "p99", "latest send", "lost", "RSS", "goal", "met")
    yield Table(
        f"Pingmesh: ICMP targets per {PERIOD:g} s on one core",
        head,
        tuple(icmp_rows(count, rounds)),
        (
            f"Medians of {rounds} rounds after a first, the latest send of any; all targets in "
            f"127.0.0.0/8. A round is late if a send of it was over {LATE_MS:g} ms (a hundredth of "
            "the interval) later than it was due.",
        ),
    )
    yield Table(
        "Pingmesh: bursts, overload, HTTP",
        ("what", "measured", "goal", "met"),
        (*strain_rows(), *pingmesh_http.rows(rounds, CORE)),
        (f"Bursts and HTTP: medians of {BURSTS} and {rounds} turns. HTTP per 1,000 probes.",),
    )


def main(arguments: Sequence[str]) -> None:
    kind, *rest = arguments or ["10000", "3"]
    numbers = [int(word) for word in rest]
    if kind.startswith("--"):
        pin()
        work = {"--rounds": our_rounds, "--burst": our_burst, "--overload": overload}[kind]
        print(*work(*numbers))  # type: ignore[operator] # each takes what its caller gives
    else:
        show(tables(int(kind), *(numbers or [3])))


if __name__ == "__main__":
    main(sys.argv[1:])
