"""Rendering: fast families against prometheus_client's generate_latest, in one run.

    python -m benchmarks.render [series [rounds]]

Medians of interleaved rounds and their ratio, on the same samples; no kernel and no HTTP. What is
rendered was not rendered before: at every turn all numbers have changed, or one in five.
"""

import random
import statistics
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily

from benchmarks.tables import Table, at_least, show
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.labelspec import LabelSpec
from exporter.ebpf.maps import MapInfo, MapRows
from exporter.ebpf.metricspec import CounterSpec, MetricsSpec
from exporter.ebpf.spec import ProgramSpec
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.testing import FakeProgram


class PackedMap:
    """A hash of u64 → u64 whose rows are packed already, as the kernel hands them over."""

    def __init__(self, count: int) -> None:
        self.info = MapInfo("timer_starts_total", "hash", 8, 8, 8, count, 1, 1, None)
        self._keys = struct.pack(f"{count}Q", *range(count))
        self.values: list[int] = []

    def change(self, chance: random.Random, share: float) -> None:
        self.values = [
            value + chance.randrange(1, 1000) if chance.random() < share else value
            for value in self.values
        ]

    def read(self) -> MapRows:
        count = len(self.values)
        return MapRows(self._keys, struct.pack(f"{count}Q", *self.values), count)


def label(key: int) -> str:
    return f"kernel_function_{key}"


def build(count: int) -> tuple[PackedMap, Registry, ProgramCollector]:
    packed = PackedMap(count)
    counter = CounterSpec("timer_starts_total", "Timers.", labels=(LabelSpec("function", 8),))
    spec = ProgramSpec(metrics=MetricsSpec(counters=(counter,)))
    loaded = FakeProgram("timers", [packed])  # type: ignore[list-item]
    loaded.bpf_maps = [packed]  # type: ignore[list-item]
    decoders = {"timer_starts_total": [lambda raw: label(int.from_bytes(raw, "little"))]}
    registry = Registry()
    collector = ProgramCollector(loaded, spec, "ebpf_exporter", 10**9, decoders)
    registry.register(collector, "timers")
    return packed, registry, collector


def family(values: list[int]) -> CounterMetricFamily:
    made = CounterMetricFamily("ebpf_exporter_timer_starts", "Timers.", labels=["function"])
    for key, value in enumerate(values):
        made.add_metric([label(key)], value)
    return made


class Given:
    def __init__(self, metric: CounterMetricFamily) -> None:
        self._metric = metric

    def collect(self) -> list[CounterMetricFamily]:
        return [self._metric]


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1000


class Case(NamedTuple):
    title: str
    digits: int
    changing: float


CASES = (
    Case("under 10^6, all change", 6, 1.0),
    Case("up to 10^12, all change", 12, 1.0),
    Case("up to 10^12, one in five changes", 12, 0.2),
)


def measure(case: Case, count: int, rounds: int) -> tuple[str, ...]:
    """Medians: theirs, ours, the ratio and its goal, ours with reading and summing, with gzip."""
    chance = random.Random(1)
    packed, registry, collector = build(count)
    packed.values = [int(10 ** chance.uniform(0, case.digits)) for _ in range(count)]
    render(registry)  # decodes every key: no steady state
    times: list[list[float]] = [[], [], [], []]
    for _ in range(rounds):
        reference = CollectorRegistry()
        reference.register(Given(family(packed.values)))  # to build it is not timed
        fast = collector.metrics[0].collect()
        # Each of ours finds other numbers than the one before it, as a scrape does.
        times[0].append(timed(partial(generate_latest, reference)))
        times[1].append(timed(partial(fast.render, openmetrics=False)))
        packed.change(chance, case.changing)
        times[2].append(timed(partial(render, registry)))
        packed.change(chance, case.changing)
        times[3].append(timed(partial(render, registry, None, "gzip")))
        packed.change(chance, case.changing)
    theirs, ours, read, gzip = map(statistics.median, times)
    return (
        case.title,
        f"{theirs:.1f}",
        f"{ours:.2f}",
        f"{theirs / ours:.1f}",
        *at_least(theirs / ours, 15),
        f"{read:.2f}",
        f"{gzip:.2f}",
    )


def main(count: int = 10_000, rounds: int = 15) -> None:
    rows = tuple(measure(case, count, rounds) for case in CASES)
    cold, registry, _ = build(count)
    cold.values = list(range(count))
    first = timed(partial(render, registry))
    head = ("counts", "generate_latest", "ours", "times faster", "goal", "met", "rows to text",
            "rows to gzip")  # fmt: skip
    notes = (
        f"Milliseconds, medians of {rounds} interleaved rounds on the same samples. `rows to text` "
        "adds reading, summing and the registry, without kernel and HTTP.",
        f"The first scrape, which decodes every key: {first:.0f} ms.",
    )
    show([Table(f"Rendering {count:,} series", head, rows, notes)])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
