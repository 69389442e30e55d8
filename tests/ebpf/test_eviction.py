"""evict_after: who goes, who stays, and what the numbers on /metrics do."""

import struct
from collections.abc import Callable, Mapping, Sequence

import pytest

from exporter.config import GoDuration
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.labelspec import LabelSpec
from exporter.ebpf.metricspec import CounterSpec, HistogramSpec, MetricsSpec
from exporter.ebpf.spec import ProgramSpec
from exporter.errors import BpfError
from exporter.testing import FakeClock, FakeMap, FakeProgram

Decode = Callable[[bytes], str]
MINUTE = GoDuration("1m")


def u32(*numbers: int) -> bytes:
    return struct.pack(f"={len(numbers)}I", *numbers)


def number(raw: bytes) -> str:
    return str(int.from_bytes(raw, "little"))


def tens(raw: bytes) -> str:
    """Ten keys to a label."""
    return str(int.from_bytes(raw, "little") // 10)


class Running:
    """A program with one counter on one map, kept up on a clock that stands still."""

    def __init__(
        self,
        bpf_map: FakeMap,
        *specs: CounterSpec | HistogramSpec,
        decode: Decode = number,
        max_series: int = 100,
        decoders: Mapping[str, Decode] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.map = bpf_map
        metrics = MetricsSpec(
            counters=tuple(each for each in specs if isinstance(each, CounterSpec)),
            histograms=tuple(each for each in specs if isinstance(each, HistogramSpec)),
        )
        self.collector = ProgramCollector(
            FakeProgram("p", [bpf_map]),
            ProgramSpec(metrics=metrics),
            "",
            max_series,
            {
                each.name: [(decoders or {}).get(each.name, decode)] * len(each.labels)
                for each in specs
            },
            clock=self.clock,
        )
        assert self.collector.problems == ()

    def after(self, seconds: float) -> Sequence[bytes]:
        """The map's keys when this time has passed and the program was kept up."""
        self.clock.advance(seconds)
        self.collector.keep_up()
        return list(self.map.rows)

    def values(self) -> dict[str, float]:
        return {
            ",".join([sample.name, *sample.labels.values()]): sample.value
            for family in self.collector.collect()
            for sample in family.samples
        }


def counter(*sizes: int) -> CounterSpec:
    labels = tuple(LabelSpec(f"l{index}", size) for index, size in enumerate(sizes))
    return CounterSpec("m_total", labels=labels, evict_after=MINUTE)


def test_a_key_goes_when_it_has_not_changed_for_so_long() -> None:
    running = Running(FakeMap("m_total", {u32(1): 5, u32(2): 7}), counter(4))
    assert running.after(0) == [u32(1), u32(2)]
    running.map.rows[u32(2)] = 8
    assert running.after(59) == [u32(1), u32(2)]
    assert running.after(1) == [u32(2)]
    assert running.after(57) == [u32(2)]
    assert running.values() == {"m_total,2": 8}
    assert running.after(2) == []
    assert running.collector.evictions[0].evicted == 2


def test_a_key_that_comes_back_starts_over() -> None:
    running = Running(FakeMap("m_total", {u32(1): 5}), counter(4))
    running.after(0)
    assert running.after(60) == []
    assert running.values() == {}
    running.map.rows[u32(1)] = 1
    assert running.after(59) == [u32(1)]
    assert running.values() == {"m_total,1": 1}


def test_keys_of_one_row_go_together_so_that_no_sum_falls() -> None:
    keys = {u32(10): 100, u32(11): 1, u32(25): 3}
    running = Running(FakeMap("m_total", keys), counter(4), decode=tens)
    running.after(0)
    running.map.rows[u32(11)] = 2
    assert running.after(60) == [u32(10), u32(11)]
    assert running.values() == {"m_total,1": 102}
    assert running.after(60) == []


def test_buckets_of_one_histogram_go_together() -> None:
    labels = (LabelSpec("disk", 4), LabelSpec("bucket", 4))
    spec = HistogramSpec("h", bucket_max=3, labels=labels, evict_after=MINUTE)
    rows = {u32(1, 0): 1, u32(1, 2): 1, u32(1, 4): 5, u32(2, 1): 1, u32(2, 4): 2}
    running = Running(FakeMap("h", rows), spec)
    running.after(0)
    running.map.rows[u32(1, 2)] = 2
    assert running.after(60) == [u32(1, 0), u32(1, 2), u32(1, 4)]


def test_every_metric_of_a_map_has_a_say() -> None:
    fine = CounterSpec("fine", labels=(LabelSpec("a", 4),), map="m", evict_after=MINUTE)
    coarse = CounterSpec("coarse", labels=(LabelSpec("a", 4),), map="m", evict_after=MINUTE)
    keys = {u32(10): 5, u32(11): 7, u32(20): 1}
    decoders = {"coarse": tens}
    running = Running(FakeMap("m", keys), fine, coarse, decoders=decoders)
    running.after(0)
    running.map.rows[u32(11)] = 8
    assert running.after(60) == [u32(10), u32(11)]


def test_what_is_summed_into_other_goes_and_stays_counted() -> None:
    keys = {u32(n): 10 for n in range(5)}
    running = Running(FakeMap("m_total", keys), counter(4), max_series=2)
    before = running.values()
    assert before["m_total,other"] == 30
    running.after(0)
    for kept in (0, 1):
        running.map.rows[u32(kept)] = 11
    assert running.after(60) == [u32(0), u32(1)]
    assert running.values()["m_total,other"] == 30


def test_a_change_on_any_processor_is_a_change() -> None:
    rows: dict[bytes, Sequence[int]] = {u32(1): [5, 0], u32(2): [5, 0]}
    bpf_map = FakeMap("m_total", rows, kind="percpu_hash", cpus=2)
    running = Running(bpf_map, counter(4))
    running.after(0)
    bpf_map.rows[u32(2)] = [5, 1]
    assert running.after(60) == [u32(2)]


def test_a_map_that_cannot_be_read_is_said_once_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = Running(FakeMap("m_total", {u32(1): 5}), counter(4))
    running.after(0)
    running.map.error = BpfError("map m_total: no")
    for _ in range(3):
        running.after(60)
    assert [record.getMessage() for record in caplog.records] == [
        "program p: evict_after: map m_total: no"
    ]
    running.map.error = None
    assert running.after(0) == []


def test_without_evict_after_nothing_is_read_for_it() -> None:
    running = Running(FakeMap("m_total", {u32(1): 5}), CounterSpec("m_total"))
    running.after(1000)
    assert running.map.reads == 0
