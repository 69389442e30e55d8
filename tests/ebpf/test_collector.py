import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from prometheus_client import Metric

from exporter.decoders.provisional import Provisional
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.labelspec import LabelSpec
from exporter.ebpf.maps import AttachedFunction
from exporter.ebpf.metricspec import CounterSpec, GaugeSpec, HistogramSpec, MetricsSpec
from exporter.ebpf.spec import ProgramSpec
from exporter.ebpf.status import FailedProgram, ProgramsCollector
from exporter.errors import BpfError, DecodeError, SkipRow
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.testing import FakeMap, FakeProgram

Decode = Callable[[bytes], str]


def number(raw: bytes) -> str:
    return str(int.from_bytes(raw, "little"))


def u32(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def label(name: str, size: int = 4, padding: int = 0) -> LabelSpec:
    return LabelSpec(name=name, size=size, padding=padding)


def collector(
    maps: Sequence[FakeMap],
    *metrics: CounterSpec | GaugeSpec | HistogramSpec,
    decode: Decode = number,
    max_series: int = 1000,
    name: str = "prog",
    **facts: Any,
) -> ProgramCollector:
    groups = MetricsSpec(
        counters=tuple(each for each in metrics if isinstance(each, CounterSpec)),
        gauges=tuple(each for each in metrics if isinstance(each, GaugeSpec)),
        histograms=tuple(each for each in metrics if isinstance(each, HistogramSpec)),
    )
    return ProgramCollector(
        FakeProgram(name, maps, **facts),
        ProgramSpec(metrics=groups),
        "e",
        max_series,
        {each.name: [decode] * len(each.labels) for each in metrics},
    )


def series(families: Iterable[Metric]) -> dict[str, float]:
    """`name{label="value"}` → number, as a page has it."""
    return {
        sample.name
        + (
            "{" + ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items())) + "}"
            if sample.labels
            else ""
        ): sample.value
        for family in families
        for sample in family.samples
    }


def page(programs: ProgramsCollector, *names: str) -> list[str]:
    registry = Registry()
    registry.register(programs)
    body = render(registry, names=names)[0].decode()
    return [line for line in body.splitlines() if not line.startswith("#")]


# Counters and gauges


@pytest.mark.parametrize(
    ("labels", "rows", "expected"),
    [
        ((), {u32(0): 7}, {"e_m_total": 7}),
        ((label("a"),), {u32(1): 7, u32(2): 8}, {"e_m_total{a=1}": 7, "e_m_total{a=2}": 8}),
        (
            (label("a", 1, 3), label("b", 4)),
            {bytes((1, 9, 9, 9)) + u32(5): 7},
            {"e_m_total{a=1,b=5}": 7},
        ),
        ((label("a", 2, 2),), {u32(1): 7, u32(0x10001): 8}, {"e_m_total{a=1}": 15}),
        ((label("a"),), {u32(1): 2**64 - 1}, {"e_m_total{a=1}": 2**64 - 1}),
        ((label("a"),), {}, {}),
    ],
)
def test_the_key_is_split_by_size_and_padding(
    labels: tuple[LabelSpec, ...], rows: dict[bytes, int], expected: dict[str, float]
) -> None:
    made = collector([FakeMap("m_total", rows)], CounterSpec(name="m_total", labels=labels))
    assert series(made.collect()) == expected
    assert made.problems == ()


def test_values_per_cpu_are_summed() -> None:
    counts = FakeMap(
        "m_total", {u32(1): [1, 2, 4], u32(2): [8, 16, 32]}, kind="percpu_hash", cpus=3
    )
    made = collector([counts], CounterSpec(name="m_total", labels=(label("a"),)))
    assert series(made.collect()) == {"e_m_total{a=1}": 7, "e_m_total{a=2}": 56}


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_last_label_cpu_on_a_per_cpu_map_splits_it(cpus: int) -> None:
    counts = FakeMap("m_total", {u32(7): [1, 2][:cpus]}, kind="percpu_hash", cpus=cpus)
    spec = CounterSpec(name="m_total", labels=(label("a"), label("cpu", 2)))
    assert series(collector([counts], spec).collect()) == {
        f"e_m_total{{a=7,cpu={cpu}}}": cpu + 1 for cpu in range(cpus)
    }


def test_where_cpu_is_the_only_label_the_key_is_passed_over() -> None:
    counts = FakeMap("m_total", {u32(0): [3, 5]}, kind="percpu_array", cpus=2)
    spec = CounterSpec(name="m_total", labels=(label("cpu", 2),))
    assert series(collector([counts], spec).collect()) == {
        "e_m_total{cpu=0}": 3,
        "e_m_total{cpu=1}": 5,
    }


def test_on_a_shared_map_cpu_is_a_label_like_others() -> None:
    spec = CounterSpec(name="m_total", labels=(label("cpu"),))
    made = collector([FakeMap("m_total", {u32(3): 5})], spec)
    assert series(made.collect()) == {"e_m_total{cpu=3}": 5}


def test_a_gauge_that_fell_below_zero_on_one_cpu_is_right_in_all() -> None:
    pages = FakeMap("m", {u32(0): [10, -4], u32(1): [0, -1]}, kind="percpu_array", cpus=2)
    made = collector([pages], GaugeSpec(name="m", labels=(label("a"),)))
    assert series(made.collect()) == {"e_m{a=0}": 6, "e_m{a=1}": -1}


def test_four_byte_values_are_read_whatever_stands_behind_them() -> None:
    rows = {u32(0): [0x1_0000_0005, 0xFF_0000_0006]}
    counts = FakeMap("m_total", dict(rows), kind="percpu_array", value_size=4, cpus=2)
    assert series(collector([counts], CounterSpec(name="m_total")).collect()) == {"e_m_total": 11}


def test_scrapes_see_the_map_as_it_is_then() -> None:
    counts = FakeMap("m_total", {u32(1): 1})
    made = collector([counts], CounterSpec(name="m_total", labels=(label("a"),)))
    assert series(made.collect()) == {"e_m_total{a=1}": 1}
    counts.rows = {u32(2): 5, u32(1): 4}
    assert series(made.collect()) == {"e_m_total{a=2}": 5, "e_m_total{a=1}": 4}
    assert series(made.collect()) == series(made.collect())


# Histograms

HIST = {"bucket_type": "exp2", "bucket_min": 0, "bucket_max": 2, "bucket_multiplier": 0.5}


def by_struct(name: str, *labels: LabelSpec) -> HistogramSpec:
    return HistogramSpec(name=name, labels=labels, **HIST)  # type: ignore[arg-type]


def by_row(name: str, *labels: LabelSpec) -> HistogramSpec:
    return by_struct(name, *labels, label("bucket"))


def buckets(name: str, counts: Sequence[int], total: float, more: str = "") -> dict[str, float]:
    inside = "{" + more + "}" if more else ""
    les = ("0.5", "1.0", "2.0", "+Inf")
    made: dict[str, float] = {
        f"{name}_bucket{{{','.join(sorted(filter(None, (more, f'le={le}'))))}}}": count
        for le, count in zip(les, counts, strict=True)
    }
    return {**made, f"{name}_count{inside}": counts[-1], f"{name}_sum{inside}": total}


def test_a_struct_of_slots_overflow_and_sum_becomes_cumulative_buckets() -> None:
    values = FakeMap("h", {u32(7): [1, 0, 2, 4, 20]}, value_size=40)
    made = collector([values], by_struct("h", label("a")))
    assert series(made.collect()) == buckets("e_h", [1, 1, 3, 7], 10.0, "a=7")


def test_structs_per_cpu_are_summed_slot_by_slot() -> None:
    values = FakeMap(
        "h",
        {u32(0): [[1, 0, 2, 4, 20], [1, 1, 0, 0, 3]]},
        kind="percpu_array",
        value_size=40,
        cpus=2,
    )
    made = collector([values], by_struct("h"))
    assert series(made.collect()) == buckets("e_h", [2, 3, 5, 9], 11.5)


def test_one_row_per_bucket_becomes_the_same_with_missing_rows_as_zero() -> None:
    rows = {u32(7, 2): 2, u32(7, 0): 1, u32(7, 3): 20, u32(8, 1): 5}
    made = collector([FakeMap("h", rows)], by_row("h", label("a")))
    assert series(made.collect()) == {
        **buckets("e_h", [1, 1, 3, 3], 10.0, "a=7"),
        **buckets("e_h", [0, 5, 5, 5], 0.0, "a=8"),
    }


def test_a_fixed_histogram_by_row_is_keyed_by_its_bounds() -> None:
    spec = HistogramSpec(
        name="h", bucket_type="fixed", bucket_keys=(1, 5), labels=(label("bucket"),)
    )
    made = collector([FakeMap("h", {u32(1): 2, u32(5): 3, u32(6): 9})], spec)
    assert series(made.collect()) == {
        'e_h_bucket{le=1.0}': 2, 'e_h_bucket{le=5.0}': 5, 'e_h_bucket{le=+Inf}': 5,
        "e_h_count": 5, "e_h_sum": 9.0,
    }  # fmt: skip


def test_a_bucket_that_the_yaml_does_not_have_is_counted_not_lost_in_silence() -> None:
    made = collector([FakeMap("h", {u32(0): 1, u32(9): 1})], by_row("h"))
    assert series(made.collect()) == buckets("e_h", [1, 1, 1, 1], 0.0)
    assert made.decoder_errors == 1


@pytest.mark.parametrize("layout", ["struct", "row"])
def test_histograms_that_decode_alike_are_summed_bucket_by_bucket(layout: str) -> None:
    if layout == "struct":
        values = FakeMap("h", {u32(1): [1, 0, 2, 4, 20], u32(2): [1, 1, 0, 0, 3]}, value_size=40)
        spec, expected = by_struct("h", label("a")), [2, 3, 5, 9]
    else:
        rows = {u32(1, 0): 1, u32(2, 0): 1, u32(1, 2): 2, u32(2, 1): 1, u32(1, 3): 23}
        values, spec, expected = FakeMap("h", rows), by_row("h", label("a")), [2, 3, 5, 5]
    alike = ProgramCollector(
        FakeProgram("p", [values]),
        ProgramSpec(metrics=MetricsSpec(histograms=(spec,))),
        "e",
        1000,
        {"h": [lambda raw: "x", number][: len(spec.labels)]},
    )
    assert series(alike.collect()) == buckets("e_h", expected, 11.5, "a=x")


def test_the_limit_counts_series_so_a_histogram_has_fewer_label_sets() -> None:
    rows = {u32(n): [1, 0, 0, 0, 2] for n in range(4)}
    values = FakeMap("h", dict(rows), value_size=40)
    made = collector([values], by_struct("h", label("a")), max_series=13)  # 6 lines a set
    assert series(made.collect()) == {
        **buckets("e_h", [1, 1, 1, 1], 1.0, "a=0"),
        **buckets("e_h", [1, 1, 1, 1], 1.0, "a=1"),
        **buckets("e_h", [2, 2, 2, 2], 2.0, "a=other"),
    }


@pytest.mark.parametrize(("of_all", "of_metric"), [(2, 3), (3, 2), (2, None)])
def test_of_the_two_limits_the_smaller_holds(of_all: int, of_metric: int | None) -> None:
    values = FakeMap("a_total", {u32(n): 1 for n in range(4)})
    metric = CounterSpec("a_total", labels=(label("a"),), max_series=of_metric)
    made = collector([values], metric, max_series=of_all)
    assert series(made.collect()) == {"e_a_total{a=0}": 1, "e_a_total{a=1}": 1} | {
        "e_a_total{a=other}": 2
    }


# What is wrong costs itself only


def test_an_undecodable_key_drops_its_row_and_is_counted_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def decode(raw: bytes) -> str:
        if raw == u32(13):
            raise DecodeError("13 has no name")
        if raw == u32(14):
            raise SkipRow
        return number(raw)

    counts = FakeMap("m_total", {u32(1): 1, u32(13): 2, u32(14): 3, u32(2): 4})
    made = collector([counts], CounterSpec(name="m_total", labels=(label("a"),)), decode=decode)
    for _ in range(3):
        assert series(made.collect()) == {"e_m_total{a=1}": 1, "e_m_total{a=2}": 4}
    assert made.decoder_errors == 1
    assert caplog.messages == [
        "program prog: metric m_total: key 0d000000: 13 has no name: left out and counted, "
        "as others like it"
    ]


def test_a_provisional_label_is_asked_for_again() -> None:
    known: dict[bytes, str] = {}

    def decode(raw: bytes) -> str:
        return known.get(raw) or Provisional("unknown")

    made = collector(
        [FakeMap("m_total", {u32(1): 1})],
        CounterSpec(name="m_total", labels=(label("a"),)),
        decode=decode,
    )
    assert series(made.collect()) == {"e_m_total{a=unknown}": 1}
    known[u32(1)] = "/kubepods"
    assert series(made.collect()) == {"e_m_total{a=/kubepods}": 1}


def test_one_map_that_cannot_be_read_hides_no_other_metric() -> None:
    maps = [
        FakeMap("a_total", {u32(0): 1}),
        FakeMap("b_total", {u32(0): 1}, error=BpfError("map b_total: EPERM")),
        FakeMap("c_total", {u32(0): 1}),
    ]
    made = collector(maps, *(CounterSpec(name=f"{each}_total") for each in "abc"))
    found: list[Metric] = []
    with pytest.raises(BpfError, match=r"^metric b_total: map b_total: EPERM$"):
        found.extend(made.collect())
    lines = page(ProgramsCollector("e", [made]))
    assert {"e_a_total 1.0", "e_c_total 1.0"} <= set(lines)
    assert 'kernmesh_collector_success{collector="ebpf:prog"} 0.0' in lines
    assert 'kernmesh_ebpf_map_entries{map="a_total",program="prog"} 1.0' in lines
    assert not any('map_entries{map="b_total"' in line for line in lines)


@pytest.mark.parametrize(
    ("maps", "metric", "problem"),
    [
        (
            [],
            CounterSpec(name="m_total"),
            "metric m_total: the object has no map of that name, got good_total",
        ),
        (
            [FakeMap("n_total", {}), FakeMap("b", {})],
            CounterSpec(name="m_total"),
            "metric m_total: the object has no map of that name, got b, good_total, n_total",
        ),
        (
            [FakeMap("m_total", {}, key_size=8)],
            CounterSpec(name="m_total", labels=(label("a"),)),
            "metric m_total: labels take 4 bytes of the key, want 8, which the key of map m_total "
            "has: set size and padding",
        ),
        (
            [FakeMap("m_total", {}, value_size=16)],
            CounterSpec(name="m_total"),
            "metric m_total: value of map m_total has 16 bytes, want 8",
        ),
        (
            [FakeMap("h", {}, value_size=8)],
            by_struct("h"),
            "metric h: value of map h has 8 bytes, want 40 (u64 slots, overflow, sum), "
            "or a last label `bucket`",
        ),
        (
            [FakeMap("h", {}, value_size=16)],
            HistogramSpec(name="h", bucket_min=3, bucket_max=2),
            "metric h: no buckets, got bucket_min 3 above bucket_max 2",
        ),
        (
            [FakeMap("m_total", {})],
            CounterSpec(name="m_total", labels=(label("a b"),)),
            "metric m_total: 'a b' is no metric or label name, want [a-zA-Z_][a-zA-Z0-9_]*",
        ),
    ],
)
def test_a_metric_that_does_not_fit_its_map_says_so_and_the_others_stay(
    maps: list[FakeMap], metric: CounterSpec | HistogramSpec, problem: str
) -> None:
    good = FakeMap("good_total", {u32(0): 1})
    made = collector([*maps, good], metric, CounterSpec(name="good_total"))
    assert made.problems == (problem,)
    assert series(made.collect()) == {"e_good_total": 1}


def test_decoders_must_be_one_per_label() -> None:
    made = ProgramCollector(
        FakeProgram("p", [FakeMap("m_total", {})]),
        ProgramSpec(
            metrics=MetricsSpec(counters=(CounterSpec(name="m_total", labels=(label("a"),)),))
        ),
        "e",
        10,
        {},
    )
    assert made.problems == ("metric m_total: got 0 decoders, want 1, one per label",)


# All programs together

FUNCTION = AttachedFunction("on_start", "tp_btf/timer_start", 42, "abcd", True, 1_500_000_000, 7)


def test_events_that_the_kernel_did_not_show_are_told_by_program() -> None:
    functions = [FUNCTION._replace(missed=2), FUNCTION._replace(id=43, missed=3)]
    older = [FUNCTION._replace(id=44, missed=None)]  # before 5.12 nobody knows
    made = ProgramsCollector(
        "e", [program(attached=functions), program("older", attached=older)], []
    )
    status = dict(made.members())["ebpf"]
    found = series(status.collect())
    assert found["kernmesh_ebpf_missed_runs_total{program=timers}"] == 5
    assert "kernmesh_ebpf_missed_runs_total{program=older}" not in found


def program(name: str = "timers", **facts: Any) -> ProgramCollector:
    counts = FakeMap("timers_total", {u32(1): 1, u32(2): 2}, max_entries=64)
    scratch = FakeMap("scratch", {}, size=None)
    spec = CounterSpec(name="timers_total", labels=(label("fn"),))
    return collector([counts, scratch], spec, name=name, **facts)


def test_every_configured_program_is_up_or_says_why_not() -> None:
    programs = ProgramsCollector(
        "ebpf_exporter",
        [program(attached=[FUNCTION], refused={"timers_total": 3}, max_series=1)],
        [FailedProgram("oomkill", 'no "mark_victim" here')],
    )
    lines = page(programs)
    assert [line for line in lines if not line.startswith("kernmesh_collector")] == [
        'e_timers_total{fn="1"} 1.0',
        'e_timers_total{fn="other"} 2.0',
        'ebpf_exporter_enabled_configs{name="timers"} 1.0',
        'ebpf_exporter_decoder_errors_total{config="timers"} 0.0',
        "ebpf_exporter_ebpf_program_info"
        '{config="timers",id="42",program="on_start",tag="abcd"} 1.0',
        'ebpf_exporter_ebpf_program_attached{id="42"} 1.0',
        'ebpf_exporter_ebpf_program_run_time_seconds{id="42"} 1.5',
        'ebpf_exporter_ebpf_program_run_count_total{id="42"} 7.0',
        'kernmesh_ebpf_program_up{program="timers"} 1.0',
        'kernmesh_ebpf_program_up{program="oomkill"} 0.0',
        'kernmesh_ebpf_program_off_info{program="oomkill",reason="no \\"mark_victim\\" here"} 1.0',
        'kernmesh_ebpf_hook_info{hook="tp_btf/timer_start",program="timers"} 1.0',
        'kernmesh_ebpf_map_entries{map="timers_total",program="timers"} 2.0',
        'kernmesh_ebpf_map_max_entries{map="timers_total",program="timers"} 64.0',
        'kernmesh_ebpf_map_max_entries{map="scratch",program="timers"} 1024.0',
        'kernmesh_ebpf_map_bytes{map="timers_total",program="timers"} 4096.0',
        'kernmesh_ebpf_map_refused_updates_total{map="timers_total",program="timers"} 3.0',
        'kernmesh_ebpf_series_folded{family="e_timers_total"} 1.0',
        'kernmesh_ebpf_label_cache_entries{family="e_timers_total"} 2.0',
        'kernmesh_ebpf_backend_info{backend="core",program="timers"} 1.0',
        'kernmesh_ebpf_events_counted_total{program="timers"} 3.0',
    ]


def test_what_the_kernel_does_not_tell_is_missing_not_zero() -> None:
    quiet = FUNCTION._replace(attached=False, run_time_ns=None, run_count=None)
    lines = page(ProgramsCollector("x", [program(attached=[quiet])]))
    assert 'x_ebpf_program_attached{id="42"} 0.0' in lines
    assert not any("run_time" in line or "run_count" in line or "hook" in line for line in lines)


def test_a_program_that_cannot_be_asked_hides_no_other() -> None:
    bad = program("bad", error=BpfError("program 7 is gone"))
    lines = page(ProgramsCollector("x", [bad, program("good", attached=[FUNCTION])]))
    assert 'kernmesh_ebpf_program_up{program="bad"} 1.0' in lines
    assert 'kernmesh_ebpf_hook_info{hook="tp_btf/timer_start",program="good"} 1.0' in lines
    assert 'kernmesh_collector_success{collector="ebpf"} 0.0' in lines
    assert 'kernmesh_collector_success{collector="ebpf:bad"} 1.0' in lines


def test_after_a_reload_the_new_programs_are_shown() -> None:
    programs = ProgramsCollector("x", [program("old")])
    registry = Registry()
    registry.register(programs)
    programs.swap([program("new")], [FailedProgram("old", "gone")])
    body = render(registry)[0].decode()
    assert 'kernmesh_ebpf_program_up{program="new"} 1.0' in body
    assert 'kernmesh_ebpf_program_off_info{program="old",reason="gone"} 1.0' in body
    assert 'collector="ebpf:old"' not in body


def test_the_same_metric_in_two_programs_is_one_family_with_alike_sets_summed() -> None:
    lines = page(ProgramsCollector("x", [program("one"), program("two")]))
    assert [line for line in lines if line.startswith("e_timers")] == [
        'e_timers_total{fn="1"} 2.0',
        'e_timers_total{fn="2"} 4.0',
    ]


def test_a_filter_reads_only_the_maps_that_it_needs() -> None:
    maps = [FakeMap("a_total", {u32(0): 1}), FakeMap("b_total", {u32(0): 2})]
    made = collector(maps, CounterSpec(name="a_total"), CounterSpec(name="b_total"))
    programs = ProgramsCollector("e", [made])
    assert page(programs, "e_b_total") == ["e_b_total 2.0"]
    assert [each.reads for each in maps] == [0, 1]
    assert len(page(programs, "kernmesh_ebpf_map_entries")) == 2
    assert [each.reads for each in maps] == [1, 2]
    assert page(programs, "kernmesh_ebpf_program_up") == [
        'kernmesh_ebpf_program_up{program="prog"} 1.0'
    ]
    assert [each.reads for each in maps] == [1, 2]
