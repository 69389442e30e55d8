"""Events as counters: told apart by their bytes, flushed as upstream does, never without bound."""

import struct

from prometheus_client import Metric

from exporter.config import GoDuration
from exporter.ebpf import eventcounts
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.labelspec import LabelSpec
from exporter.ebpf.metricspec import CounterSpec, MetricsSpec
from exporter.ebpf.spec import ProgramSpec
from exporter.ebpf.status import ProgramsCollector
from exporter.errors import BpfError
from exporter.testing import FakeClock, FakeMap, FakeProgram

SPEC = CounterSpec(
    "e_total",
    perf_event_array=True,
    flush_interval=GoDuration("1h"),
    labels=(LabelSpec("a", 2, 2), LabelSpec("b", 4)),
)


class Running:
    def __init__(self, spec: CounterSpec = SPEC, error: BpfError | None = None) -> None:
        self.clock = FakeClock()
        self.program = FakeProgram(
            "p", [FakeMap("e_total", {}, kind="perf_event_array")], error=error
        )
        self.collector = ProgramCollector(
            self.program,
            ProgramSpec(metrics=MetricsSpec(counters=(spec,))),
            "",
            1000,
            {"e_total": [lambda raw: str(int.from_bytes(raw, "little"))] * 2},
            clock=self.clock,
        )

    def send(self, a: int, b: int, behind: bytes = b"") -> None:
        for sink in self.program.sinks["e_total"]:
            sink(struct.pack("<HHI", a, 0xFFFF if behind else 0, b) + behind)

    def values(self) -> dict[tuple[str, ...], float]:
        return by_labels(list(self.collector.collect()), "e_total")

    def status(self, name: str) -> float:
        shown = ProgramsCollector("", [self.collector])
        families = [each for _, member in shown.members() for each in member.collect()]
        return by_labels(families, name)["e_total", "p"]  # map, program


def by_labels(families: list[Metric], name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_events_alike_are_counted_together_whatever_stands_behind_their_labels() -> None:
    running = Running()
    running.send(1, 2)
    running.send(1, 2, behind=b"\0\0\0\0")
    running.send(3, 2)
    assert running.values() == {("1", "2"): 2, ("3", "2"): 1}


def test_after_the_flush_interval_counting_starts_over() -> None:
    running = Running()
    running.send(1, 2)
    running.clock.advance(3599)
    assert running.values() == {("1", "2"): 1}
    running.clock.advance(1)
    assert running.values() == {}
    running.send(1, 2)
    assert running.values() == {("1", "2"): 1}


def test_an_event_that_is_too_short_is_counted_as_lost() -> None:
    running = Running()
    running.program.lost = {"e_total": 7}
    running.send(1, 2)
    running.program.sinks["e_total"][0](b"\1\0\0")
    assert running.values() == {("1", "2"): 1}
    assert running.status("kernmesh_ebpf_events_lost_total") == 8


def test_events_of_too_many_kinds_are_refused_and_those_known_go_on() -> None:
    running = Running()
    for number in range(eventcounts.MAX_KEYS + 5):
        running.send(0, number)
    running.send(0, 0)
    (counts,) = running.collector.events["e_total"]
    assert counts.read().count == eventcounts.MAX_KEYS
    assert running.values()["0", "0"] == 2
    assert running.status("kernmesh_ebpf_map_refused_updates_total") == 5


def test_a_map_that_cannot_be_listened_to_costs_its_metric_only() -> None:
    running = Running(error=BpfError("map e_total: a hash map sends no events"))
    assert running.collector.problems == ("map e_total: a hash map sends no events",)
    assert running.values() == {}
