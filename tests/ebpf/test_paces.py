"""Rates are between two looks that lie apart; what is not counted is unknown and not 0."""

import pytest

from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.mapmetric import Decode
from exporter.ebpf.maps import AttachedFunction
from exporter.ebpf.metricspec import CounterSpec, GaugeSpec, MetricsSpec
from exporter.ebpf.paces import Pace, Paces
from exporter.ebpf.spec import ProgramSpec
from exporter.errors import BpfError
from exporter.testing import FakeClock, FakeMap, FakeProgram

KEY = b"\0\0\0\0"


def counter(name: str) -> CounterSpec:
    return CounterSpec(name=name, help="h", labels=())


class Rig:
    def __init__(self, *names: str, gauge: bool = False) -> None:
        self.clock = FakeClock()
        self.maps = [FakeMap(name, {KEY: 0}) for name in names]
        self.program = FakeProgram("prog", self.maps)
        specs = tuple(map(counter, names))
        gauges = (GaugeSpec(name=names[0], help="h", labels=()),)
        groups = MetricsSpec(gauges=gauges) if gauge else MetricsSpec(counters=specs)
        spec = ProgramSpec(metrics=groups)
        decoders: dict[str, list[Decode]] = {name: [] for name in names}
        self.collector = ProgramCollector(
            self.program,
            spec,
            "e",
            100,
            decoders,
            clock=self.clock,
        )
        self.paces = Paces(self.clock)

    def turn(self, seconds: float, counts: dict[str, int], spent_ns: int | None = None) -> Pace:
        """The maps hold these counts; a scrape reads them, then somebody looks."""
        self.clock.advance(seconds)
        for each in self.maps:
            each.rows = {KEY: counts[each.info.name]} if each.info.name in counts else {}
        if spent_ns is not None:
            self.program.attached = [AttachedFunction("f", "h", 1, "t", True, spent_ns, 1)]
        list(self.collector.collect())
        self.paces.look([self.collector])
        return self.paces.of("prog")


def test_events_are_those_of_the_busiest_metric_between_two_reads() -> None:
    rig = Rig("all_total", "failed_total")
    assert rig.turn(1, {"all_total": 500, "failed_total": 20}) == Pace(None, None)
    assert rig.turn(10, {"all_total": 1500, "failed_total": 900}).events == 100.0
    assert rig.turn(10, {"all_total": 1500, "failed_total": 900}).events == 0.0


def test_what_went_with_its_keys_was_counted_all_the_same() -> None:
    rig = Rig("a_total")
    rig.turn(1, {"a_total": 100})
    rig.turn(10, {"a_total": 200})
    assert rig.turn(10, {}).events == 0.0
    assert rig.turn(10, {"a_total": 50}).events == 5.0
    assert rig.collector.counted == 250


def test_two_looks_at_once_make_no_rate() -> None:
    rig = Rig("a_total")
    rig.turn(1, {"a_total": 100})
    assert rig.turn(0.5, {"a_total": 200}).events is None
    assert rig.turn(0.5, {"a_total": 300}).events == 200.0


@pytest.mark.parametrize("name", ["wait_seconds_total", "sent_bytes_total"])
def test_seconds_and_bytes_are_no_events(name: str) -> None:
    rig = Rig(name)
    rig.turn(1, {name: 5})
    assert rig.turn(10, {name: 105}).events == 0.0


def test_a_gauge_counts_nothing() -> None:
    rig = Rig("now", gauge=True)
    rig.turn(1, {"now": 5})
    assert rig.turn(10, {"now": 50}) == Pace(None, None)
    assert rig.collector.counted is None


def test_a_scrape_of_something_else_is_no_read() -> None:
    rig = Rig("a_total", "b_total")
    rig.turn(1, {"a_total": 100})
    list(rig.collector.collect_names(["nothing_here"]))
    list(rig.collector.collect_names(["e_a_total"]))
    rig.paces.look([rig.collector])
    assert rig.paces.of("prog") == Pace(None, None)
    assert rig.turn(10, {"a_total": 200}).events == 10.0


def test_cost_is_the_kernel_s_time_and_unknown_while_that_stands_still() -> None:
    rig = Rig("a_total")
    rig.turn(1, {}, spent_ns=1_000_000)
    assert rig.turn(10, {}, spent_ns=51_000_000).cost == pytest.approx(0.005)
    assert rig.turn(10, {}, spent_ns=51_000_000).cost is None


def test_a_program_that_is_being_closed_costs_nothing_else() -> None:
    rig = Rig("a_total")
    rig.turn(1, {"a_total": 1})
    rig.program.error = BpfError("closed")
    assert rig.turn(10, {"a_total": 11}) == Pace(1.0, None)
    rig.paces.look([])
    assert rig.paces.of("prog") == Pace(None, None)
