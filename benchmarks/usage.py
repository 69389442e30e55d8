"""Usage over time: what a tick costs, what a day weighs, how much is written to the disk; then
beside others (usage_peer.py).

Ticks read this machine's real /proc and /sys, and for pods real cgroups; only the clock is made
up, so that a day passes in seconds. State goes to a temporary folder.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks import usage_peer
from benchmarks.pods import SIGNALS, Pods
from benchmarks.process import resident_mb
from benchmarks.tables import NO_GOAL, Table, at_most, show
from exporter.config.agent import Usage
from exporter.hostfs import HostFs
from exporter.testing import FakeClock
from exporter.usage.gauges import USAGE, Gauges
from exporter.usage.grammar import default_names, parse
from exporter.usage.history import History
from exporter.usage.record import all_sources
from exporter.usage.series import Series, TierName
from exporter.usage.store import Now, create, in_memory

PODS, CONTAINERS = 200, 2
DAY = 86400.0
ROWS = 8640
YOUNG_TICKS = 35  # for 5 minutes a new pod is looked at more often
SERIES = 50
FLUSH_SECONDS = 30  # vm.dirty_expire_centisecs, as shipped
SAME = 1.1  # times, within which a tick costs the same

Row = tuple[str, ...]


class Machine:
    """A History of this machine, and a clock that stands still between ticks."""

    def __init__(self, folder: str) -> None:
        self.clock = FakeClock()
        settings = Usage(state_dir=folder)
        sources = all_sources(HostFs(), settings, self.clock)
        self.history = History(self.clock, HostFs(), settings, sources)
        self.history.begin()

    def ticks(
        self,
        tiers: Sequence[TierName],
        seconds: float,
        count: int,
        before: Callable[[], object] = lambda: None,
    ) -> list[float]:
        """CPU seconds of each."""
        spent = []
        for _ in range(count):
            self.clock.advance(seconds)
            before()
            began = time.process_time()
            for tier in tiers:
                self.history.tick(tier)
            spent.append(time.process_time() - began)
        return spent


def tick_rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(folder)
        machine.ticks(("fast", "slow", "pods"), 10.0, 5)
        node = median(machine.ticks(("slow",), 10.0, 200))
        fast = median(machine.ticks(("fast",), 1.0, 200))
        machine.history.close()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pods = Pods(PODS, CONTAINERS)
    try:
        with tempfile.TemporaryDirectory() as folder:
            machine = Machine(folder)
            machine.ticks(("fast", "slow", "pods"), 10.0, YOUNG_TICKS)
            both = median(machine.ticks(("slow", "pods"), 10.0, 50))
            ran = median(machine.ticks(("slow", "pods"), 10.0, 15, pods.work))
            stored = store_seconds(machine.history)
            fast_with = median(machine.ticks(("fast",), 1.0, 200))
            kept = len(machine.history.series("pods"))
            machine.history.close()
    finally:
        pods.remove()
    yield _tick("10 s tick, node only, CPU", node)
    with_pods = f"10 s tick, node and {PODS} pods of {CONTAINERS} ({kept} series)"
    yield _tick(f"{with_pods}, all rest, CPU", both, 8)
    yield _tick("10 s tick, all containers have run, CPU", ran, 8)
    yield _tick("of that, putting the pods' series into the store", stored)
    yield _tick("1 s tick, CPU", fast, 1)
    yield _tick(f"1 s tick with {PODS} pods on the node, CPU", fast_with, 1)


def _tick(what: str, seconds: float, goal_ms: float | None = None) -> Row:
    ms = seconds * 1e3
    return what, f"{ms:.2f} ms", *(NO_GOAL if goal_ms is None else at_most(ms, goal_ms, "ms"))


def store_seconds(history: History) -> float:
    """CPU of one row of the pods tier, without the reading."""
    now = Now(0.0, 0.0, "boot")
    store, values = in_memory(10.0, 3600.0, now), dict(history.latest("pods"))
    spent = []
    for tick in range(1, 51):
        began = time.process_time()
        store.put(10.0 * tick, 0.0, values)
        spent.append(time.process_time() - began)
    return median(spent)


def made_up(tick: int, series: Sequence[Series]) -> dict[Series, float]:
    return {each: tick * 7.3 + number for number, each in enumerate(series)}


def weigh(kind: str) -> None:
    """In a process of its own: a day of fifty series and all gauges over them."""
    fifty = [*USAGE.values()]
    fifty += [Series(f"made.up{n}", "counter") for n in range(SERIES - 2 * len(fifty))]
    now = Now(0.0, 0.0, "boot")
    names = [parse(name) for name in default_names()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slow.usage"
        # No more timings than are asked for: a day of them would weigh as if they were the store's.
        young: list[float] = []
        old: deque[float] = deque(maxlen=500)
        before = resident_mb()
        store = in_memory(10.0, DAY, now) if kind == "memory" else create(path, 10.0, DAY, now)
        gauges = Gauges(store, DAY, names)
        for tick in range(1, ROWS + 1):
            values = made_up(tick, fifty)
            values |= dict.fromkeys(USAGE.values(), tick * 7.0 % 100)
            began = time.process_time()
            gauges.advance(store.elapsed_at(10.0 * tick), values)
            store.put(10.0 * tick, 0.0, values)
            spent = time.process_time() - began
            if 30 < tick <= 530:
                young.append(spent)
            old.append(spent)
        size = store.shape.pitch * ROWS / len(store.series())
        after = resident_mb()
        began = time.process_time()
        for _ in range(20):
            store.window(fifty[0], DAY)
        asked = (time.process_time() - began) / 20
    late = median(old)
    print(len(store.series()), after - before, size, median(young), late, asked)


def weight_rows() -> Iterator[Row]:
    found = {}
    for kind in ("file", "memory"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.usage", kind],
            check=True,
            capture_output=True,
            text=True,
        )
        found[kind] = [float(number) for number in done.stdout.split()]
    series, in_file, size, young, late, asked = found["file"]
    for where, weight in (("a file", in_file), ("memory", found["memory"][1])):
        what = f"RSS of a day of {series:.0f} series, in {where}"
        yield what, f"{weight:.2f} MB", *at_most(weight, 2, "MB")
    yield "file, per series and day", f"{size / 1e3:.1f} kB", *at_most(size / 1e3, 40, "kB")
    yield "gauges and row, CPU, in the first hour", f"{young * 1e6:.0f} µs", *NO_GOAL
    ratio = at_most(late / young, SAME, "× the first hour's")
    yield "gauges and row, CPU, after a day", f"{late * 1e6:.0f} µs", *ratio
    yield "a day's window of one series, CPU", f"{asked * 1e3:.2f} ms", *NO_GOAL


def written_row() -> Row:
    """An hour's ticks; what is dirty is written out as often as the kernel would."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        machine = Machine(folder)
        machine.ticks(("fast", "slow"), 1.0, 3)
        files = [os.open(path, os.O_RDONLY) for path in Path(folder).glob("*.usage")]
        before = blocks_written()
        for second in range(3600):
            machine.ticks(("fast", "slow") if second % 10 == 0 else ("fast",), 1.0, 1)
            if second % FLUSH_SECONDS == 0:
                for file in files:
                    os.fdatasync(file)
        spent = blocks_written() - before
        for file in files:
            os.close(file)
        machine.history.close()
    return ("written to the disk in an hour, both tiers", f"{spent / 1e6:.2f} MB", *NO_GOAL)


def blocks_written() -> int:
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise AssertionError("no write_bytes")


def tables() -> Iterator[Table]:
    yield Table(
        "Usage over time",
        ("what", "measured", "goal", "met"),
        (*tick_rows(), *weight_rows(), written_row()),
        (
            "Ticks read real files and, for pods, real cgroups; medians of CPU time. Dirty pages "
            f"are written every {FLUSH_SECONDS} s, as the kernel does.",
        ),
    )
    yield usage_peer.measure()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        weigh(sys.argv[1])
    else:
        show(tables())
