"""check: each thing that can be wrong with a program, said at its place, all at once."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import Ebpf, GoDuration
from exporter.ebpf.check import check_programs
from exporter.ebpf.elf import verify_object
from exporter.ebpf.labelspec import DecoderSpec, LabelSpec
from exporter.ebpf.metricspec import CounterSpec, GaugeSpec, HistogramSpec, MetricsSpec
from exporter.ebpf.selection import check_all
from exporter.ebpf.spec import (
    AttachSpec,
    CgroupIdMapSpec,
    HookSpec,
    Program,
    ProgramSpec,
    SpanSpec,
    TracingSpec,
    read_program,
)
from exporter.errors import ConfigError
from tests.ebpf.test_elf import mutant

UINT = DecoderSpec("uint")


def label(name: str, size: int = 8, padding: int = 0, *decoders: DecoderSpec) -> LabelSpec:
    return LabelSpec(name, size, padding, decoders or (UINT,))


def counter(name: str, *labels: LabelSpec, help: str = "h", perf: bool = False) -> ProgramSpec:
    spec = CounterSpec(name, help, perf_event_array=perf, labels=labels)
    return ProgramSpec(metrics=MetricsSpec(counters=(spec,)))


def by_field(name: str, **fields: str) -> tuple[LabelSpec, ...]:
    """A label for each keyword, of this member; `name` goes first."""
    decoders = (DecoderSpec(name),)
    return tuple(LabelSpec(key, decoders=decoders, field=path) for key, path in fields.items())


def valued(name: str, value: str, *labels: LabelSpec) -> ProgramSpec:
    spec = CounterSpec("any_total", "h", labels=labels, map=name, value=value)
    return ProgramSpec(metrics=MetricsSpec(counters=(spec,)))


def histogram(
    name: str,
    *labels: LabelSpec,
    bucket_max: int = 3,
    bucket_type: str = "exp2",
    bucket_keys: Sequence[float] = (),
    bucket_min: int = 0,
) -> ProgramSpec:
    spec = HistogramSpec(
        name,
        "h",
        bucket_type,  # type: ignore[arg-type]
        bucket_min,
        bucket_max,
        tuple(bucket_keys),
        labels=labels,
    )
    return ProgramSpec(metrics=MetricsSpec(histograms=(spec,)))


PAIR = (label("device", 4), label("operation", 1, 3), label("bucket"))

Check = Callable[..., list[str]]


@pytest.fixture
def check(objects: Path) -> Check:
    """Problems of programs a.yaml, b.yaml … over shapes.bpf.o, as text, less the folder."""

    def run(*specs: ProgramSpec, object_name: str = "shapes.bpf.o") -> list[str]:
        programs = [
            Program(name, objects / f"{name}.yaml", objects / object_name, spec)
            for name, spec in zip("abcdef", specs, strict=False)
        ]
        return [str(each).replace(f"{objects}/", "") for each in check_programs(programs)]

    return run


@pytest.mark.parametrize(
    "spec",
    [
        counter("events_total", label("function", 8, 0, DecoderSpec("ksym"))),
        counter("events_total", label("function"), label("cpu", 2)),
        counter("pairs_total", label("device", 4), label("operation", 4), label("size")),
        counter("pairs_total", *PAIR),
        counter("plain_total"),
        counter("sized_total", label("a", 4), label("b")),
        counter("sent_total", label("anything", 40, 0, DecoderSpec("hex")), perf=True),
        counter(
            "nested_total",
            label("low", 2),
            label("high", 2),
            label("address", 16, 0, DecoderSpec("inet_ip")),
            label("comm", 12, 0, DecoderSpec("string")),
        ),
        counter("nested_total", *by_field("uint", high="port.high", low="port.low")),
        counter("nested_total", *by_field("string", task="comm")),
        counter("events_total", label("function"), LabelSpec("cpu", decoders=(UINT,))),
        valued("wide_values", "device", label("f")),
        valued("wide_values", "bucket", label("f")),
        histogram("latency_seconds", label("disk")),
        histogram("pairs_total", *PAIR, bucket_max=27),
        histogram("latency_seconds", label("x"), bucket_type="fixed", bucket_keys=[1, 2, 5, 9]),
        ProgramSpec(metrics=MetricsSpec(gauges=(GaugeSpec("plain_total", "h"),))),
        ProgramSpec(hooks=(HookSpec("h", (("on_getpid",), ("on_switch", "on_getpid"))),)),
        ProgramSpec(kaddrs=("vfs_read",)),
        ProgramSpec(attach=(AttachSpec("on_packet", ("lo",)),)),
        ProgramSpec(cgroup_id_map=CgroupIdMapSpec("chosen", "hash", ("^a", "(b)(c)"))),
        ProgramSpec(tracing=TracingSpec((SpanSpec("spans", "s", "", (label("id"),)),))),
    ],
)
def test_a_program_that_fits_its_object_has_no_problem(check: Check, spec: ProgramSpec) -> None:
    assert check(spec) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            counter("events_total", label("f", 8, 0, DecoderSpec("ksms"))),
            "metrics.counters[0].labels[0].decoders: unknown decoder 'ksms' (did you mean 'ksym'?)",
        ),
        (
            counter("events_total", label("f", 8, 0, DecoderSpec("string"), UINT)),
            "metrics.counters[0].labels[0].decoders: uint can only be first, as it reads the key's "
            "bytes: got it after string",
        ),
        (
            counter("event_total", label("f")),
            "metrics.counters[0].name: the object has no map 'event_total' "
            "(did you mean 'events_total'?)",
        ),
        (
            counter("qqq", label("f")),
            "metrics.counters[0].name: the object has no map 'qqq', it has chosen, events_total, "
            "latency_seconds, mixed_total, nested_total, pairs_total, plain_total, "
            "sent_total …",
        ),
        (
            counter("events_total", label("f", 4)),
            "metrics.counters[0].labels: got 4 bytes (f 4), want 8, the key of map 'events_total'",
        ),
        (
            counter("pairs_total", label("device", 4), label("op", 1, 2), label("bucket")),
            "metrics.counters[0].labels: got 15 bytes (device 4 + op 1 + padding 2 + bucket 8), "
            "want 16, the key of map 'pairs_total': device 4 at 0, operation 1 at 4, bucket 8 at 8",
        ),
        (
            counter("pairs_total", label("device"), label("bucket", 4, 4)),
            "metrics.counters[0].labels[1]: 'bucket' is bytes 8 to 12 of the key, which cuts its "
            "field 'bucket' (bytes 8 to 16)",
        ),
        (
            counter("events_total"),
            "metrics.counters[0].labels: got none for map 'events_total', whose key has 8 bytes",
        ),
        (
            counter("pairs_total", label("pair", 16, 0, DecoderSpec("hex")), label("cpu", 0)),
            "metrics.counters[0].labels[1].size: got 0, want the label's bytes in the key: map "
            "'pairs_total' is not per CPU",
        ),
        (
            counter("wide_values", label("f")),
            "metrics.counters[0]: the value of map 'wide_values' has 16 bytes, want 8 (u64), or "
            "`value` to name one of its members",
        ),
        (
            counter("pairs_total", *by_field("uint", device="devices")),
            "metrics.counters[0].labels[0].field: no field 'devices' in struct pair_key "
            "(did you mean 'device'?)",
        ),
        (
            counter("pairs_total", LabelSpec("a", 8, decoders=(UINT,), field="device")),
            "metrics.counters[0].labels[0].field: got a size of 8, field 'device' of map "
            "'pairs_total''s key has 4 bytes: leave size out",
        ),
        (
            counter("nested_total", *by_field("uint", task="comm")),
            "metrics.counters[0].labels[0].decoders: uint: got a size of 12 bytes, "
            "want 1 or 2 or 4 or 8",
        ),
        (
            counter("pairs_total", *by_field("uint", a="device"), label("cpu", 0)),
            "metrics.counters[0].labels[1].field: is missing: map 'pairs_total' is not per CPU, "
            "so its key must have the label",
        ),
        (
            counter("sized_total", *by_field("uint", a="pid")),
            "metrics.counters[0].labels[0].field: map 'sized_total' has no key type, "
            "want __type(key, struct …)",
        ),
        (
            valued("wide_values", "operation", label("f")),
            "metrics.counters[0].value: field 'operation' of map 'wide_values''s value has 1 bytes,"
            " want 8 (u64)",
        ),
        (
            ProgramSpec(
                metrics=MetricsSpec((CounterSpec("plain_total", evict_after=GoDuration("1m")),))
            ),
            "metrics.counters[0].evict_after: map 'plain_total' is array, whose keys cannot be "
            "deleted",
        ),
        (
            valued("wide_value", "device", label("f")),
            "metrics.counters[0].map: the object has no map 'wide_value' "
            "(did you mean 'wide_values'?)",
        ),
        (
            counter("spans", label("f")),
            "metrics.counters[0]: map 'spans' is ringbuf, want one of hash, array, percpu_hash, "
            "percpu_array, lru_hash, lru_percpu_hash",
        ),
        (
            counter("events_total", label("f"), perf=True),
            "metrics.counters[0].perf_event_array: map 'events_total' is percpu_hash, want "
            "perf_event_array, ringbuf",
        ),
        (
            histogram("latency_seconds", label("disk"), bucket_max=4),
            "metrics.histograms[0].bucket_max: 5 buckets, overflow and sum are 56 bytes, the value "
            "of map 'latency_seconds' has 48: room for 4 buckets",
        ),
        (
            histogram("events_total", label("disk")),
            "metrics.histograms[0].bucket_max: 4 buckets, overflow and sum are 48 bytes, the value "
            "of map 'events_total' has 8: want u64 slots[], u64 overflow, u64 sum, or a last label "
            "`bucket`",
        ),
        (
            histogram("wide_values", label("bucket")),
            "metrics.histograms[0]: the value of map 'wide_values' has 16 bytes, want 8 (u64), or "
            "`value` to name one of its members",
        ),
        (
            ProgramSpec(hooks=(HookSpec("h", (("on_getpid",), ("on_swich",))),)),
            "hooks[0].any_of[1]: the object has no function 'on_swich' (did you mean 'on_switch'?)",
        ),
        (
            ProgramSpec(attach=(AttachSpec("on_getpi", ("lo",)),)),
            "attach[0].function: the object has no function 'on_getpi' (did you mean 'on_getpid'?)",
        ),
        (
            ProgramSpec(attach=(AttachSpec("on_getpid", ("lo",)),)),
            "attach[0].function: 'on_getpid' is a tracepoint/syscalls/sys_enter_getpid function, "
            "which needs no place",
        ),
        (
            ProgramSpec(attach=(AttachSpec("on_packet", cgroup="/sys/fs/cgroup"),)),
            "attach[0]: 'on_packet' is a xdp function, want interfaces",
        ),
        (
            ProgramSpec(kaddrs=("vfs_rea",)),
            "kaddrs[0]: the object has no rodata variable 'kaddr_vfs_rea' "
            "(did you mean 'kaddr_vfs_read'?)",
        ),
        (
            ProgramSpec(cgroup_id_map=CgroupIdMapSpec("spans", "hash")),
            "cgroup_id_map.type: map 'spans' is of map type 27, want hash",
        ),
        (
            ProgramSpec(cgroup_id_map=CgroupIdMapSpec("pairs_total", "hash")),
            "cgroup_id_map.name: map 'pairs_total' has 16 bytes of key and 8 of value, want 8 and "
            "8",
        ),
        (
            ProgramSpec(cgroup_id_map=CgroupIdMapSpec("chosen", "hash", ("(",))),
            "cgroup_id_map.regexps: regexp: '(' is no RE2 expression: missing ): (",
        ),
        (
            ProgramSpec(tracing=TracingSpec((SpanSpec("plain_total", "s"),))),
            "tracing.spans[0].ringbuf: map 'plain_total' is of map type 2, want ringbuf",
        ),
    ],
)
def test_a_program_that_does_not_fit_is_told_where_and_what(
    check: Check, spec: ProgramSpec, said: str
) -> None:
    assert check(spec) == [f"a.yaml: {said}"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (counter("events_total", label("function")), None),
        (
            counter("events_total", label("caller")),
            "with labels function, here with caller: one name has one set",
        ),
        (
            counter("events_total", label("function"), help="other"),
            "with help 'h', here with 'other': one name has one help",
        ),
        (
            ProgramSpec(
                metrics=MetricsSpec(gauges=(GaugeSpec("events_total", "h", (label("function"),)),))
            ),
            "as a counter, here as a gauge: one name has one type",
        ),
    ],
)
def test_one_metric_in_two_programs_must_be_one_family(
    check: Check, objects: Path, other: ProgramSpec, said: str | None
) -> None:
    kind = "gauges" if other.metrics.gauges else "counters"
    want = [f"b.yaml: metrics.{kind}[0].name: 'events_total' is in a.yaml too, {said}"]
    assert check(counter("events_total", label("function")), other) == (want if said else [])


def test_histograms_of_one_name_have_the_same_buckets(check: Check) -> None:
    said = check(
        histogram("pairs_total", *PAIR, bucket_max=10),
        histogram("pairs_total", *PAIR, bucket_max=11),
    )
    assert said == [
        "b.yaml: metrics.histograms[0].name: 'pairs_total' is in a.yaml too, with another "
        "bucket_max: histograms of one name have the same buckets"
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.bpf.o", "missing.bpf.o: is missing: compile it with clang -target bpf"),
        ("empty.bpf.o", "empty.bpf.o: has no BPF functions"),
        (
            "untyped.bpf.o",
            "untyped.bpf.o: has no type information, so no maps: compile it with clang -g",
        ),
    ],
)
def test_an_object_that_cannot_be_read_hides_nothing_of_the_yaml(
    check: Check, name: str, said: str
) -> None:
    spec = counter("events_total", label("f", 8, 0, DecoderSpec("ksms")))
    unknown, about_object = check(spec, object_name=name)
    assert "unknown decoder 'ksms'" in unknown
    assert about_object == said


def test_a_problem_carries_the_line_that_is_known_for_its_path(objects: Path) -> None:
    program = Program("a", objects / "a.yaml", objects / "shapes.bpf.o", counter("events_total"))
    lines = {"metrics.counters[0].labels": 7}
    (found,) = check_programs([program], lambda _file, path: lines.get(path, 0))
    assert (found.file, found.line, found.path) == (
        str(objects / "a.yaml"),
        7,
        "metrics.counters[0].labels",
    )


def test_everything_is_said_at_once(check: Check) -> None:
    broken = ProgramSpec(
        metrics=MetricsSpec(
            counters=(
                CounterSpec("gone", "h", labels=(label("f", 8, 0, DecoderSpec("ksms")),)),
                CounterSpec("wide_values", "h", labels=(label("f", 4),)),
            ),
        ),
        hooks=(HookSpec("h", (("gone",),)),),
        kaddrs=("gone",),
    )
    assert len(check(broken)) == 6


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_check_survives_any_mutated_object(shapes: bytes, seed: int) -> None:
    spec = ProgramSpec(
        metrics=MetricsSpec(
            counters=counter("pairs_total", *PAIR).metrics.counters
            + counter("nested_total", label("x", 32, 0, DecoderSpec("hex"))).metrics.counters,
            histograms=histogram("latency_seconds", label("disk")).metrics.histograms,
        ),
        hooks=(HookSpec("h", (("on_getpid",),)),),
    )
    spoiled = mutant(shapes, random.Random(seed))
    program = Program("a", Path("a.yaml"), Path("a.bpf.o"), spec)
    for found in check_programs([program], verify=lambda path: verify_object(spoiled, str(path))):
        assert "\n" not in str(found)


PROGRAMS = sorted((Path(__file__).parents[1] / "config" / "program").glob("*.yaml"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_rule_of_the_file_alone_is_the_reader_s_and_told_once(path: Path, tmp_path: Path) -> None:
    """Exp2 ranges, names, doubles: `check` has no opinion of its own on them."""
    copy = tmp_path / "bad.yaml"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(ConfigError) as refused:
        read_program(copy)
    assert check_all(Ebpf(dirs=(str(tmp_path),), programs=("bad",))) == list(refused.value.problems)
