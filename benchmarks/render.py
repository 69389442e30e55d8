"""Rendering: fast families against prometheus_client's generate_latest, in one run.

    python benchmarks/render.py [series] [rounds]

Medians of interleaved rounds and their ratios, on the same samples; no kernel and no HTTP. Values
change in every round, so nothing is won by remembering their texts.
"""

import random
import statistics
import struct
import sys
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily

from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.maps import MapInfo, MapRows
from exporter.ebpf.spec import CounterSpec, LabelSpec, MetricsSpec, ProgramSpec
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.testing import FakeProgram


class PackedMap:
    """A hash of u64 → u64 whose rows are packed already, as the kernel hands them over."""

    def __init__(self, count: int) -> None:
        self.info = MapInfo("timer_starts_total", "hash", 8, 8, 8, count, 1, 1, None)
        self._keys = struct.pack(f"{count}Q", *range(count))
        self.values: list[int] = []

    def read(self) -> MapRows:
        count = len(self.values)
        return MapRows(self._keys, struct.pack(f"{count}Q", *self.values), count)


def label(key: int) -> str:
    return f"kernel_function_{key}"


def build(count: int) -> tuple[PackedMap, Registry]:
    packed = PackedMap(count)
    spec = ProgramSpec(
        MetricsSpec(
            (CounterSpec("timer_starts_total", "Timers.", labels=(LabelSpec("function", 8),)),)
        )
    )
    loaded = FakeProgram("timers", [packed])  # type: ignore[list-item]
    loaded.bpf_maps = [packed]  # type: ignore[list-item]
    decoders = {"timer_starts_total": [lambda raw: label(int.from_bytes(raw, "little"))]}
    registry = Registry()
    registry.register(ProgramCollector(loaded, spec, "ebpf_exporter", 10**9, decoders), "timers")
    return packed, registry


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


def main(count: int, rounds: int) -> None:
    packed, registry = build(count)
    chance = random.Random(1)
    small = {"counts under 10^6": 6, "counts up to 10^12": 12}
    print(f"{count} series, medians of {rounds} interleaved rounds, ms")
    print("| values | generate_latest | kernmesh, read to text | gzip on top | ratio |")
    print("|---|---|---|---|---|")
    for title, digits in small.items():
        theirs, ours, zipped = [], [], []
        for _ in range(rounds + 1):
            packed.values = [int(10 ** chance.uniform(0, digits)) for _ in range(count)]
            reference = CollectorRegistry()
            reference.register(Given(family(packed.values)))  # building it is not timed
            theirs.append(timed(lambda: generate_latest(reference)))  # noqa: B023
            ours.append(timed(lambda: render(registry)))
            zipped.append(timed(lambda: render(registry, None, "gzip")))
        # The first round decodes every key and is no steady state.
        low, high, gz = (statistics.median(times[1:]) for times in (ours, theirs, zipped))
        print(f"| {title} | {high:.1f} | {low:.2f} | {gz - low:.2f} | {high / low:.1f} × |")
    packed.values = packed.values[::-1]
    cold = build(count)
    cold[0].values = packed.values
    print(f"first scrape, every key decoded: {timed(lambda: render(cold[1])):.1f} ms")


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("10000", "15")[len(sys.argv) - 1 :])))
