"""One metric of a program: a kernel map's rows as one family.

The rule: columns of numbers, no Python code per row while no key comes or goes. Knows the map
seam (maps.py) and the YAML's layouts (FORMATS section 1), no programs and no other metrics.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add
from struct import iter_unpack

from exporter.decoders.provisional import Provisional
from exporter.ebpf import hist
from exporter.ebpf.layout import Layout, is_split_by_cpu
from exporter.ebpf.maps import BpfMap, MapRows
from exporter.ebpf.metricspec import GaugeSpec, HistogramSpec
from exporter.ebpf.metricspec import MetricSpec as MetricSpec
from exporter.errors import DecodeError, KernmeshError
from exporter.metrics.gotext import GoTexts
from exporter.metrics.rows import Rows, Words
from exporter.metrics.table import Column, FastFamily, Kind, Shape

Decode = Callable[[bytes], str]
"""Key bytes of one label → text. Raises SkipRow or DecodeError; a Provisional text is asked for
again later."""

# Upstream hands a CPU's number to the label's decoders as a u16.
_CPU_BYTES = 2


class MapMetric:
    """`decoders` are one per label of `spec`, in order, `bucket` and `cpu` included. `max_series`
    counts lines: a histogram of 30 lines gets max_series / 30 label sets of its own; where the
    YAML says a smaller number, that holds. `layout` is where the YAML's members are
    (layout.layout_of); None: labels and value are by position.

    Counters are u64, gauges s64 (a gauge that is decremented on another CPU than it was
    incremented on wraps there). A map of 4-byte values is read as u32. Raises KernmeshError where
    map and YAML do not fit each other.
    """

    def __init__(
        self,
        bpf_map: BpfMap,
        spec: MetricSpec,
        prefix: str,
        max_series: int,
        decoders: Sequence[Decode],
        layout: Layout | None = None,
    ) -> None:
        self.spec = spec
        self.entries: int | None = None
        """Rows that the last read gave; None before the first and after one that failed."""
        self.counted = 0
        """Events that it has counted up to the last read; 0 of what counts something else."""
        self._counted_before = 0
        self._map = bpf_map
        info = bpf_map.info
        self._percpu = "percpu" in info.kind
        names = [label.name for label in spec.labels]
        self._hist = spec if isinstance(spec, HistogramSpec) else None
        self._by_row = self._hist is not None and names[-1:] == ["bucket"]
        self._split = self._percpu and is_split_by_cpu(spec)
        self._value = layout.value if layout else None
        if len(decoders) != len(names):
            raise KernmeshError(
                f"metric {spec.name}: got {len(decoders)} decoders, "
                f"want {len(names)}, one per label"
            )
        self._parts = self._key_parts(decoders, layout)
        self._suffixes = (
            [cpu.to_bytes(spec.labels[-1].size or _CPU_BYTES, "little") for cpu in range(info.cpus)]
            if self._split
            else ()
        )
        self._signed = isinstance(spec, GaugeSpec) and not self._is_plain_u32()
        self._counts_events = not (
            isinstance(spec, GaugeSpec) or spec.name.endswith(("_seconds_total", "_bytes_total"))
        )
        self._multiplier = 1.0 if isinstance(spec, HistogramSpec) else spec.multiplier
        kind: Kind = (
            "gauge" if isinstance(spec, GaugeSpec) else "histogram" if self._hist else "counter"
        )
        try:
            self._check_value()
            self._slots = hist.bucket_slots(self._hist) if self._hist else {}
            self.shape = Shape(
                kind,
                f"{prefix}_{spec.name}" if prefix else spec.name,
                spec.help,
                names[:-1] if self._by_row else names,
                hist.bounds(self._hist) if self._hist else (),
            )
        except ValueError as error:
            raise KernmeshError(f"metric {spec.name}: {error}") from None
        self.rows = Rows(
            self.shape,
            self._words,
            slots=len(self._slots) if self._by_row else 1,
            limit=max(1, min(max_series, spec.max_series or max_series) // self.shape.width),
            monotone=kind != "gauge",
        )
        last = self.shape.width - 1  # a histogram's sums are floats, all else is counted
        self._texts = [
            GoTexts(exact=self._multiplier == 1 and (self._hist is None or index < last))
            for index in range(last + 1)
        ]

    def _is_plain_u32(self) -> bool:
        """An unsigned member of a shared value: no other CPU's part can make it negative."""
        value = self._value
        return value is not None and value.size == 4 and value.signed is False and not self._percpu

    def _key_parts(
        self, decoders: Sequence[Decode], layout: Layout | None
    ) -> list[tuple[int, int, Decode]]:
        """Start, end and decoder of each label in the key (with the CPU behind it, if split)."""
        info, labels = self._map.info, self.spec.labels
        inside = labels[:-1] if self._split else labels
        parts: list[tuple[int, int, Decode]] = []
        if layout:
            places = zip(layout.key, decoders, strict=False)
            parts = [(part.offset, part.end, decode) for part, decode in places]
            at = max((end for _, end, _ in parts), default=0)
            fits = at <= info.key_size
        else:
            at = 0
            for label, decode in zip(inside, decoders, strict=False):
                parts.append((at, at + label.size, decode))
                at += label.size + label.padding
            fits = at == info.key_size
        # A map that has no labels in its key has one all the same, mostly a u32 of 0.
        if inside and not fits:
            raise KernmeshError(
                f"metric {self.spec.name}: labels take {at} bytes of the key, want {info.key_size},"
                f" which the key of map {info.name} has: set size and padding"
            )
        if self._split:
            end = info.key_size + (labels[-1].size or _CPU_BYTES)
            parts.append((info.key_size, end, decoders[-1]))
        return parts

    def _check_value(self) -> None:
        info = self._map.info
        if self._hist is not None and not self._by_row:
            want = [8 * hist.struct_width(self._hist)]
            hint = " (u64 slots, overflow, sum), or a last label `bucket`"
        else:
            want, hint = [8, 4], ""
        size, what = info.value_size, f"value of map {info.name}"
        if self._value is not None:
            size, what = self._value.size, f"{self.spec.value} of map {info.name}'s value"
        if size not in want or (self._value is not None and self._value.end > info.value_size):
            raise KernmeshError(
                f"metric {self.spec.name}: {what} has {size} bytes, want {want[0]}{hint}"
            )

    def _words(self, key: bytes) -> Words:
        texts = [decode(key[start:end]) for start, end, decode in self._parts]
        final = not any(type(text) is Provisional for text in texts)
        if not self._by_row:
            return Words(texts, 0, final)
        bucket = texts.pop()
        try:
            return Words(texts, self._slots[float(bucket)], final)
        except (KeyError, ValueError):
            raise DecodeError(
                f"bucket {bucket!r} is none of {min(self._slots):g} to {max(self._slots):g}"
            ) from None

    def collect(self, read: Callable[[], MapRows] | None = None) -> FastFamily:
        """The map as it is now, or as `read` gives it, for metrics that share a map. Raises
        BpfError where the kernel refuses to be read."""
        self.entries = None
        rows = (read or self._map.read)()
        self.entries = rows.count
        self.see(rows)
        columns = self.rows.spread(self._inputs(rows.values))
        lines = self.rows.lines
        if self._hist is None:
            (values,) = columns
            if self._counts_events:
                self._note(int(sum(values)))
            if self._multiplier != 1:
                scaled = [value * self._multiplier for value in values]
                return FastFamily(self.shape, lines, (Column(scaled, self._texts[0]),))
            negative = self._signed and min(values, default=0) < 0
            text = GoTexts(exact=False) if negative else self._texts[0]
            return FastFamily(self.shape, lines, (Column(values, text),))
        if self._by_row:  # values over the last bucket are in it already
            columns.insert(-1, [0] * len(columns[0]))
        counts, sums = hist.cumulative(columns, hist.multiplier(self._hist))
        self._note(int(sum(counts[-1])))
        numbers: list[Sequence[float]] = [*counts, sums]
        return FastFamily(self.shape, lines, list(map(Column, numbers, self._texts)))

    def _note(self, total: int) -> None:
        """What went with keys that are gone has been counted all the same."""
        self.counted += max(0, total - self._counted_before)
        self._counted_before = total

    def see(self, rows: MapRows) -> None:
        """These are the map's keys now."""
        self.rows.see(rows.keys, self._map.info.key_size, self._suffixes)

    def rows_of(self, key: bytes) -> Iterator[str]:
        """The rows that a key is a part of, as `Rows.row_of`."""
        for suffix in self._suffixes or (b"",):
            row = self.rows.row_of(key + suffix)
            if row is not None:
                yield row

    def _inputs(self, values: bytes) -> list[list[int]]:
        """Per word of the value: one number per key (and CPU, if split)."""
        info = self._map.info
        offset, size = (
            (self._value.offset, self._value.size) if self._value else (0, info.value_size)
        )
        cpus = 1 if self._split else info.cpus
        starts = range(offset, offset + cpus * info.value_stride, info.value_stride)
        row = cpus * info.value_stride
        if size > 8 and offset % 8 == 0:  # words of a histogram
            words, step = memoryview(values).cast("Q").tolist(), row // 8
            parts = (
                [words[at::step] for at in range(start // 8, (start + size) // 8)]
                for start in starts
            )
            return reduce(_summed, parts)
        width = 4 if size == 4 else 8
        return [
            reduce(_added, (self._numbers(values, width, start + at, row) for start in starts))
            for at in range(0, size, width)
        ]

    def _numbers(self, values: bytes, width: int, at: int, row: int) -> list[int]:
        """The integer of `width` bytes at `at` in each row of `row` bytes."""
        signed = self._signed
        if at % width or row % width:  # a member of a packed struct
            form = f"={at}x{'q' if signed else 'Q'}" if width == 8 else f"={at}x{'iI'[not signed]}"
            return [number for (number,) in iter_unpack(f"{form}{row - at - width}x", values)]
        view = memoryview(values)
        numbers = (
            (view.cast("i") if signed else view.cast("I"))
            if width == 4
            else (view.cast("q") if signed else view.cast("Q"))
        )
        return numbers[at // width :: row // width].tolist()


def _added(left: list[int], right: list[int]) -> list[int]:
    return list(map(add, left, right))


def _summed(left: list[list[int]], right: list[list[int]]) -> list[list[int]]:
    return list(map(_added, left, right))
