"""Records as spans: labels that say what a span is, labels that are attributes, bad records."""

import struct
from collections.abc import Callable

import pytest

from exporter.ebpf.labelspec import LabelSpec
from exporter.ebpf.spans import Span, SpanReader
from exporter.ebpf.spec import SpanSpec
from exporter.errors import SkipRow
from exporter.testing import FakeClock

Decode = Callable[[bytes], str]
WALL_NS, MONOTONIC_NS = 1_700_000_000 * 10**9, 1000 * 10**9


def number(raw: bytes) -> str:
    return str(int.from_bytes(raw, "little"))


def odd_only(raw: bytes) -> str:
    if raw[0] % 2:
        return number(raw)
    raise SkipRow


LABELS: dict[str, tuple[int, Decode]] = {
    "trace_id": (16, bytes.hex),
    "span_id": (8, bytes.hex),
    "parent_span_id": (8, bytes.hex),
    "span_monotonic_timestamp_ns": (8, number),
    "span_duration_ns": (8, number),
    "span_name": (4, lambda raw: raw.rstrip(b"\0").decode()),
    "size": (4, number),
    "odd": (4, odd_only),
}


def read(record: bytes, *names: str, spec_name: str = "") -> tuple[SpanReader, list[Span]]:
    taken: list[Span] = []
    labels = tuple(LabelSpec(name, LABELS[name][0]) for name in names)
    spec = SpanSpec("ring", spec_name, "svc", labels)
    reader = SpanReader(spec, [LABELS[name][1] for name in names], FakeClock(), taken.append)
    reader.take(record)
    return reader, taken


def test_a_record_says_everything_about_its_span() -> None:
    record = struct.pack("<16s8s8sQQ4sI", b"\1" * 16, b"\2" * 8, b"\3" * 8, MONOTONIC_NS - 5, 3,
                         b"abc\0", 7)  # fmt: skip
    names = list(LABELS)[:7]
    _, (span,) = read(record, *names)
    assert span == Span(
        "abc",
        "svc",
        int("01" * 16, 16),
        int("02" * 8, 16),
        int("03" * 8, 16),
        WALL_NS - 5,
        WALL_NS - 2,
        {"size": "7"},
    )


def test_ids_that_are_not_given_or_zero_are_made_up() -> None:
    zeroes = bytes(32)
    (first,) = read(zeroes, "trace_id", "span_id", "parent_span_id")[1]
    (second,) = read(zeroes[:4], "size")[1]
    for span in (first, second):
        assert 0 < span.trace_id < 1 << 128
        assert 0 < span.span_id < 1 << 64
        assert span.parent_id is None
        assert span.start_ns == span.end_ns == WALL_NS
    assert first.trace_id != second.trace_id


@pytest.mark.parametrize(("spec_name", "name"), [("", "ring"), ("given", "given")])
def test_a_span_has_the_yaml_s_name_or_the_buffer_s(spec_name: str, name: str) -> None:
    (span,) = read(bytes(4), "size", spec_name=spec_name)[1]
    assert span.name == name


def test_a_record_that_is_filtered_out_makes_no_span_and_no_failure() -> None:
    reader, taken = read(bytes(4), "odd")
    assert (taken, reader.spans, reader.failures) == ([], 0, 0)


@pytest.mark.parametrize(
    ("record", "names", "why"),
    [
        (b"\0\0", ("size",), "a record of 2 bytes, want 4"),
        (bytes(8), ("size", "span_duration_ns"), "a record of 8 bytes, want 12"),
    ],
)
def test_a_record_that_makes_no_sense_is_counted(
    record: bytes, names: tuple[str, ...], why: str
) -> None:
    reader, taken = read(record, *names)
    assert (taken, reader.failures, reader.last_failure) == ([], 1, why)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("trace_id", "xyz", "trace_id: got 'xyz', want 32 hexadecimal digits: decode by hex"),
        ("span_id", "1" * 17, "want 16 hexadecimal digits"),
        ("span_duration_ns", "-1", "span_duration_ns: got '-1', want a decimal number"),
        ("span_monotonic_timestamp_ns", "ff", "want a decimal number: decode by uint"),
    ],
)
def test_a_label_of_the_wrong_kind_is_named(name: str, text: str, why: str) -> None:
    reader = SpanReader(
        SpanSpec("ring", labels=(LabelSpec(name, 1),)), [lambda _: text], FakeClock(), print
    )
    reader.take(b"x")
    assert reader.last_failure is not None
    assert why in reader.last_failure
