"""Fast families against prometheus_client's own renderers, byte for byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics.gotext import GoTexts
from exporter.metrics.table import Column, FastFamily, Lines, Shape, merge


class One:
    def __init__(self, metric: Metric) -> None:
        self.metric = metric

    def collect(self) -> list[Metric]:
        return [self.metric]


def theirs(metric: Metric, openmetrics: bool) -> bytes:
    registry = CollectorRegistry()
    registry.register(One(metric))
    if openmetrics:
        body: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
        return body.removesuffix(b"# EOF\n")
    return generate_latest(registry)


names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,12}", fullmatch=True)
wild = st.one_of(st.text(), st.text(alphabet='"\\\n%{}=, s\x00é😀d'))
numbers = st.one_of(
    st.floats(), st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63), st.just(1e6)
)
counts = st.one_of(st.integers(0, 100), st.integers(0, 2**64 - 1))


@st.composite
def label_sets(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, ...]]]:
    labels = draw(st.lists(names.filter(lambda name: name != "le"), max_size=4, unique=True))
    row = st.tuples(*(wild for _ in labels))
    return labels, draw(st.lists(row, max_size=5, unique=True))


@settings(deadline=None)
@given(label_sets(), names, st.text(), st.sampled_from(["counter", "gauge"]), st.data())
def test_counters_and_gauges_are_what_prometheus_client_renders(
    sets: tuple[list[str], list[tuple[str, ...]]],
    name: str,
    words: str,
    kind: str,
    data: st.DataObject,
) -> None:
    labels, rows = sets
    values = [data.draw(numbers) for _ in rows]
    reference: CounterMetricFamily | GaugeMetricFamily
    if kind == "counter":
        name += "_total"
        reference = CounterMetricFamily(name, words, labels=labels)
    else:
        reference = GaugeMetricFamily(name, words, labels=labels)
    for row, value in zip(rows, values, strict=True):
        reference.add_metric(row, value)
    shape = Shape("counter" if kind == "counter" else "gauge", name, words, labels)
    ours = FastFamily.of(shape, dict(zip(rows, values, strict=True)))
    for openmetrics in (False, True):
        assert ours.render(openmetrics) == theirs(reference, openmetrics)
        assert theirs(ours, openmetrics) == theirs(reference, openmetrics)
    assert [sample[:2] for sample in ours.samples] == [sample[:2] for sample in reference.samples]


@settings(deadline=None)
@given(label_sets(), names, st.text(), st.data())
def test_histograms_are_what_prometheus_client_renders(
    sets: tuple[list[str], list[tuple[str, ...]]], name: str, words: str, data: st.DataObject
) -> None:
    labels, rows = sets
    bounds = sorted(data.draw(st.lists(st.floats(0, 1e300), unique=True, max_size=4)))
    shape = Shape("histogram", name, words, labels, bounds)
    reference = HistogramMetricFamily(name, words, labels=labels)
    table: list[list[float]] = []
    for row in rows:
        buckets = [data.draw(counts) for _ in range(len(bounds) + 1)]
        total = data.draw(st.floats(allow_nan=False))
        table.append([*buckets, buckets[-1], total])
        named = zip([*bounds, float("inf")], buckets, strict=True)
        pairs = [(str(le), value) for le, value in named]
        # Its own `le` is whatever text it is given; Go's form is what clients see elsewhere.
        texts = [
            shape.lines(row)[at].partition('le="')[2].partition('"')[0] for at in range(len(pairs))
        ]
        reference.add_metric(
            row, [(text, value) for text, (_, value) in zip(texts, pairs, strict=True)], total
        )
    lines = Lines([line for row in rows for line in shape.lines(row)])
    columns = [
        Column([row[at] for row in table], GoTexts(exact=at < shape.width - 1))
        for at in range(shape.width)
    ]
    ours = FastFamily(shape, lines, columns)
    for openmetrics in (False, True):
        assert ours.render(openmetrics) == theirs(ours, openmetrics)
        assert sorted(ours.render(openmetrics).splitlines()) == sorted(
            theirs(reference, openmetrics).splitlines()
        )


def test_bounds_read_as_go_prints_them() -> None:
    bounds = (0.0, 1e-06, 0.000128, 0.5, 1.0, 67.108864, 1e6, 1e21)
    shape = Shape("histogram", "h", "", (), bounds)
    assert [line.partition('le="')[2].partition('"')[0] for line in shape.lines(())[:-2]] == [
        "0.0", "1e-06", "0.000128", "0.5", "1.0", "67.108864", "1e+06", "1e+21", "+Inf",
    ]  # fmt: skip


def test_a_counter_without_total_keeps_its_name_and_is_unknown_to_openmetrics() -> None:
    shape = Shape("counter", "ebpf_exporter_ebpf_program_run_time_seconds", 'How "long".', ["id"])
    family = FastFamily.of(shape, {("7",): 0.25})
    line = 'ebpf_exporter_ebpf_program_run_time_seconds{id="7"} 0.25\n'
    name = "ebpf_exporter_ebpf_program_run_time_seconds"
    assert family.render(openmetrics=False).decode() == (
        f'# HELP {name} How "long".\n# TYPE {name} counter\n{line}'
    )
    assert family.render(openmetrics=True).decode() == (
        f'# HELP {name} How \\"long\\".\n# TYPE {name} unknown\n{line}'
    )


def test_ten_thousand_lines_come_out_whole_and_in_order() -> None:
    shape = Shape("gauge", "many", "", ["n"])
    rows = {(str(n),): n * 1000 for n in range(10_001)}
    body = FastFamily.of(shape, rows).render(openmetrics=False).decode()
    (parsed,) = text_string_to_metric_families(body)
    assert [(sample.labels["n"], sample.value) for sample in parsed.samples] == [
        (n, value) for (n,), value in rows.items()
    ]


def test_half_a_surrogate_pair_in_a_label_does_not_stop_the_scrape() -> None:
    family = FastFamily.of(Shape("gauge", "odd", "", ["file"]), {("a\udcffb",): 1})
    assert b'odd{file="a?b"} 1.0\n' in family.render(openmetrics=False)


@pytest.mark.parametrize(
    ("kind", "name", "labels", "bounds", "problem"),
    [
        ("counter", "9lives", (), (), "'9lives' is no metric or label name"),
        ("counter", "a:b", (), (), "'a:b' is no metric or label name"),
        ("gauge", "ok", ("a b",), (), "'a b' is no metric or label name"),
        ("gauge", "ok", ("a", "a"), (), "labels a, a must differ"),
        ("histogram", "ok", ("le",), (1.0,), "labels le must differ (le is taken)"),
        ("histogram", "ok", (), (2.0, 1.0), "bucket bounds must ascend, got [2.0, 1.0]"),
    ],
)
def test_a_shape_that_prometheus_does_not_take_is_refused(
    kind: str, name: str, labels: tuple[str, ...], bounds: tuple[float, ...], problem: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        Shape(kind, name, "", labels, bounds)  # type: ignore[arg-type]
    assert problem in str(refusal.value)


def test_samples_cannot_be_put_into_a_fast_family() -> None:
    family = FastFamily.of(Shape("gauge", "g", ""), {(): 1})
    with pytest.raises(AttributeError, match="follow from its lines"):
        family.samples = [*family.samples]


def test_merging_sums_alike_label_sets_and_adds_the_others() -> None:
    shape = Shape("counter", "c_total", "", ["a"])
    first = FastFamily.of(shape, {("x",): 1, ("y",): 2})
    second = FastFamily.of(shape, {("z",): 4, ("y",): 8})
    assert {sample.labels["a"]: sample.value for sample in merge(first, second).samples} == {
        "x": 1, "y": 10, "z": 4,
    }  # fmt: skip
