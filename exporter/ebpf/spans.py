"""A program's records as spans: for the YAML's `tracing.spans`, as upstream lays them out.

Some labels' names say what they are: trace_id, span_id, parent_span_id (hexadecimal),
span_monotonic_timestamp_ns, span_duration_ns (decimal) and span_name. All others are attributes.
Pure but for the clock and random ids; knows nothing of who takes the spans.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from exporter.clock import Clock
from exporter.ebpf.spec import SpanSpec
from exporter.errors import DecodeError, SkipRow

_TRACE_BITS, _SPAN_BITS = 128, 64


class Span(NamedTuple):
    """Times are ns since the epoch. `parent_id` is None for a root."""

    name: str
    service: str
    trace_id: int
    span_id: int
    parent_id: int | None
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str]


class SpanReader:
    """`take` gets each record, in the buffer's thread; `decoders` are one per label."""

    def __init__(
        self,
        spec: SpanSpec,
        decoders: Sequence[Callable[[bytes], str]],
        clock: Clock,
        out: Callable[[Span], None],
    ) -> None:
        self.spans = 0
        self.failures = 0
        """Records that could not be decoded."""
        self.last_failure: str | None = None
        self._spec, self._clock, self._out = spec, clock, out
        self._parts: list[tuple[str, int, int, Callable[[bytes], str]]] = []
        at = 0
        for label, decode in zip(spec.labels, decoders, strict=True):
            self._parts.append((label.name, at, at + label.size, decode))
            at += label.size + label.padding
        self._bytes = max((end for _, _, end, _ in self._parts), default=0)

    def take(self, record: bytes) -> None:
        try:
            span = self._read(record)
        except SkipRow:
            return
        except Exception as error:  # a decoder's bug too costs one record, not the buffer
            self.failures += 1
            self.last_failure = str(error) if isinstance(error, DecodeError) else repr(error)
            return
        self.spans += 1
        self._out(span)

    def _read(self, record: bytes) -> Span:
        if len(record) < self._bytes:
            raise DecodeError(f"a record of {len(record)} bytes, want {self._bytes}")
        texts = {name: decode(record[start:end]) for name, start, end, decode in self._parts}
        name = texts.pop("span_name", None) or self._spec.name or self._spec.ringbuf
        trace = _identity(texts, "trace_id", _TRACE_BITS)
        own = _identity(texts, "span_id", _SPAN_BITS)
        parent = _identity(texts, "parent_span_id", _SPAN_BITS)
        start = self._wall_ns(_decimal(texts, "span_monotonic_timestamp_ns"))
        return Span(
            name,
            self._spec.service,
            trace or secrets.randbits(_TRACE_BITS) or 1,
            own or secrets.randbits(_SPAN_BITS) or 1,
            parent or None,
            start,
            start + (_decimal(texts, "span_duration_ns") or 0),
            texts,
        )

    def _wall_ns(self, monotonic_ns: int | None) -> int:
        """bpf_ktime_get_ns() counts CLOCK_MONOTONIC; None is now."""
        now = round(self._clock.wall() * 1e9)
        if monotonic_ns is None:
            return now
        return now - round(self._clock.monotonic() * 1e9) + monotonic_ns


def _identity(texts: dict[str, str], name: str, bits: int) -> int:
    """0 where there is none: the program leaves it to us."""
    text = texts.pop(name, "0")
    try:
        number = int(text, 16)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << bits:
        raise DecodeError(
            f"{name}: got {text!r}, want {bits // 4} hexadecimal digits: decode by hex"
        )
    return number


def _decimal(texts: dict[str, str], name: str) -> int | None:
    text = texts.pop(name, None)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise DecodeError(f"{name}: got {text!r}, want a decimal number: decode by uint")
    return int(text)
