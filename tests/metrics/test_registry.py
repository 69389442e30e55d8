import logging
from collections.abc import Collection, Iterable, Iterator

import pytest
from prometheus_client import Counter, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from exporter.errors import BpfError, NoData
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.metrics.table import FastFamily, Shape
from exporter.testing import FakeClock


class Gives:
    def __init__(self, *families: Metric) -> None:
        self.families = families
        self.turns = 0

    def collect(self) -> Iterable[Metric]:
        self.turns += 1
        return self.families


class Fails:
    def __init__(self, error: Exception, *before: Metric) -> None:
        self.error = error
        self.before = before

    def collect(self) -> Iterator[Metric]:
        yield from self.before
        raise self.error


def gauge(name: str, value: float = 1) -> FastFamily:
    return FastFamily.of(Shape("gauge", name, "h"), {(): value})


def text(registry: Registry, *names: str) -> str:
    return render(registry, names=names)[0].decode()


def lines(registry: Registry, *names: str) -> list[str]:
    return [
        line
        for line in text(registry, *names).splitlines()
        if not line.startswith(("#", "kernmesh_collector_duration"))
    ]


def test_registering_calls_nothing() -> None:
    collector = Gives(gauge("a"))
    Registry().register(collector)
    assert collector.turns == 0


def test_one_failing_collector_hides_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    registry.register(Fails(BpfError("no map"), gauge("early")), "bad")
    registry.register(Gives(gauge("a")), "good")
    assert lines(registry) == [
        "early 1.0",
        "a 1.0",
        'kernmesh_collector_success{collector="bad"} 0.0',
        'kernmesh_collector_success{collector="good"} 1.0',
    ]
    assert caplog.messages == ["collector bad failed: BpfError: no map"]


def test_nothing_to_say_is_success_without_a_series(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    registry.register(Fails(NoData("no sample yet")), "usage")
    assert lines(registry) == ['kernmesh_collector_success{collector="usage"} 1.0']
    assert caplog.messages == []
    (outcome,) = registry.outcomes()
    assert outcome[:2] == ("usage", True)
    assert outcome.detail == "no sample yet"


def test_a_failure_is_logged_once_per_change_of_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry()
    collector = Fails(OSError("one"))
    registry.register(collector, "c")
    for error in (OSError("one"), OSError("one"), OSError("two"), OSError("two"), NoData("ok")):
        collector.error = error
        text(registry)
    collector.error = OSError("two")
    text(registry)
    assert caplog.messages == [
        f"collector c failed: OSError: {message}" for message in ("one", "two", "two")
    ]


def test_the_caller_measures_how_long_each_collector_takes() -> None:
    clock = FakeClock()

    class Slow:
        def collect(self) -> Iterator[Metric]:
            clock.advance(0.25)
            yield gauge("a")
            clock.advance(0.5)

    registry = Registry(clock)
    registry.register(Slow(), "slow")
    assert 'kernmesh_collector_duration_seconds{collector="slow"} 0.75' in text(registry)


def test_instruments_of_prometheus_client_register_as_they_always_do() -> None:
    registry = Registry()
    Counter("jobs", "Jobs.", registry=registry).inc(3)
    Histogram("seconds", "Time.", buckets=(1,), registry=registry).observe(2)
    assert "jobs_total 3.0" in lines(registry)
    assert 'seconds_bucket{le="+Inf"} 1.0' in lines(registry)
    assert "kernmesh_collector" not in text(registry)


def test_a_group_is_asked_for_its_members_at_every_scrape() -> None:
    class Group:
        def __init__(self) -> None:
            self.now: list[tuple[str, Collector]] = [("one", Gives(gauge("a")))]

        def members(self) -> list[tuple[str, Collector]]:
            return self.now

    registry, group = Registry(), Group()
    registry.register(group, "group")
    assert 'kernmesh_collector_success{collector="one"} 1.0' in lines(registry)
    group.now = [("two", Gives(gauge("b")))]
    assert lines(registry) == ["b 1.0", 'kernmesh_collector_success{collector="two"} 1.0']


class Chooses(Gives):
    def collect_names(self, names: Collection[str]) -> Iterable[Metric]:
        wanted = [family for family in self.families if family.name in names]
        return self.collect() if wanted else ()


def test_a_filter_gives_only_samples_so_named_and_spares_the_work_for_others() -> None:
    registry = Registry()
    spared, asked, plain = Chooses(gauge("a")), Chooses(gauge("b")), Gives(gauge("c"))
    counter = Counter("jobs", "Jobs.", registry=registry)
    for collector in (spared, asked, plain):
        registry.register(collector)
    counter.inc()
    assert lines(registry, "b", "jobs_total") == ["jobs_total 1.0", "b 1.0"]
    assert (spared.turns, asked.turns, plain.turns) == (0, 1, 1)
    assert registry.outcomes() == ()


def test_who_filters_for_success_has_every_collector_called() -> None:
    registry = Registry()
    collector = Chooses(gauge("a"))
    registry.register(collector, "x")
    assert lines(registry, "kernmesh_collector_success") == [
        'kernmesh_collector_success{collector="x"} 1.0'
    ]
    assert collector.turns == 1


def test_a_filter_takes_single_samples_of_a_histogram_as_prometheus_client_does() -> None:
    registry = Registry()
    Histogram("h", "H.", buckets=(1,), registry=registry).observe(0.5)
    assert lines(registry, "h_count", "nothing") == ["h_count 1.0"]


def test_a_filter_that_nothing_matches_gives_an_empty_page() -> None:
    registry = Registry()
    registry.register(Gives(gauge("a")))
    assert text(registry, "zzz") == ""


def test_unregistered_collectors_are_not_called_any_more() -> None:
    registry, collector = Registry(), Gives(gauge("a"))
    registry.register(collector)
    registry.unregister(collector)
    assert text(registry) == ""
    assert collector.turns == 0


def test_two_collectors_of_one_name_are_one_to_the_reader() -> None:
    clock = FakeClock()
    registry = Registry(clock)
    registry.register(Gives(), "twin")
    registry.register(Fails(OSError("x")), "twin")
    assert lines(registry) == ['kernmesh_collector_success{collector="twin"} 0.0']


def test_a_family_that_prometheus_client_cannot_render_costs_only_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = GaugeMetricFamily("broken", "B.", labels=["x"])
    broken.add_metric([None], 1)  # type: ignore[list-item]
    registry = Registry()
    registry.register(Gives(broken, gauge("a")), "c")
    assert "a 1.0" in lines(registry)
    assert "metric broken left out" in caplog.text


def family(kind: str, name: str, words: str, labels: dict[str, str], value: float) -> Metric:
    make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    made = make(name, words, labels=list(labels))
    made.add_metric(list(labels.values()), value)
    return made


def fast(kind: str, name: str, words: str, labels: dict[str, str], value: float) -> Metric:
    shape = Shape("counter" if kind == "counter" else "gauge", name, words, list(labels))
    return FastFamily.of(shape, {tuple(labels.values()): value})


@pytest.mark.parametrize("make_first", [family, fast])
@pytest.mark.parametrize("make_second", [family, fast])
def test_a_family_of_two_collectors_comes_under_one_head_with_alike_sets_summed(
    make_first: type, make_second: type
) -> None:
    registry = Registry()
    registry.register(Gives(make_first("counter", "c_total", "H.", {"x": "1"}, 1)), "one")
    registry.register(
        Gives(
            make_second("counter", "c_total", "H.", {"x": "1"}, 2),
            make_second("counter", "c_total", "H.", {"x": "2"}, 4),
        ),
        "two",
    )
    body = text(registry)
    assert body.count("# TYPE c_total counter") == 1
    assert lines(registry)[:2] == ['c_total{x="1"} 3.0', 'c_total{x="2"} 4.0']


def test_histograms_of_two_collectors_are_summed_bucket_by_bucket() -> None:
    registry, others = Registry(), [Registry(), Registry()]
    for other, seen in zip(others, (0.5, 2), strict=True):
        Histogram("h", "H.", buckets=(1,), registry=other).observe(seen)
        registry.register(other)
    made = [line for line in lines(registry) if not line.startswith(("h_created", "kernmesh"))]
    assert made == [
        'h_bucket{le="1.0"} 1.0',
        'h_bucket{le="+Inf"} 2.0',
        "h_count 2.0",
        "h_sum 2.5",
    ]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (fast("gauge", "c", "H.", {"x": "2"}, 1), "type differs: 'counter' there, 'gauge' here"),
        (fast("counter", "c_total", "Other.", {"x": "2"}, 1), "help differs: 'H.' there"),
        (fast("counter", "c_total", "H.", {"y": "2"}, 1), "labels differs: {x} there, {y} here"),
        (fast("gauge", "c_total", "H.", {"x": "2"}, 1), "the sample name c_total belongs to"),
    ],
)
def test_a_family_that_differs_is_left_out_counted_and_said_once(
    second: Metric, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry()
    registry.register(Gives(fast("counter", "c_total", "H.", {"x": "1"}, 1)), "one")
    registry.register(Gives(second, gauge("beside")), "two")
    for _ in range(2):
        made = lines(registry)
        assert made[:2] == ['c_total{x="1"} 1.0', "beside 1.0"]
        assert (
            f'kernmesh_family_conflict_info{{collector="two",family="{second.name}"}} 1.0' in made
        )
    (message,) = caplog.messages
    assert message.startswith(f"two: metric {second.name} left out: one has it already and ")
    assert why in message


def test_gauges_of_two_collectors_unite_but_are_never_summed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry()
    for name, labels, value in (("one", "1", 1), ("two", "2", 2), ("three", "1", 4)):
        registry.register(Gives(fast("gauge", "g", "H.", {"x": labels}, value)), name)
    assert lines(registry)[:2] == ['g{x="1"} 1.0', 'g{x="2"} 2.0']
    assert 'a gauge cannot be summed, but both have {x="1"}' in caplog.text


def test_errors_are_logged_as_errors(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    registry.register(Fails(ValueError("x")), "c")
    text(registry)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
