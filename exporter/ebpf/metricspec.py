"""Metrics in a program's YAML: counters, gauges and histograms, each from a map.

Pure. Structs mirror the file key by key; their `faults` are the rules that need no object.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from exporter.config import Fault, GoDuration
from exporter.ebpf.labelspec import FieldPath, LabelSpec, label_faults

BucketType = Literal["exp2", "exp2zero", "linear", "fixed"]
MetricName = Annotated[
    str,
    Meta(
        pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        extra={"want": "a metric name: letters, digits, _ and :, no digit first"},
    ),
]
CName = Annotated[
    str,
    Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", extra={"want": "a name as C has it"}),
]
Multiplier = Annotated[float, Meta(gt=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
MAX_BUCKETS = 1024
_MAX_EXP2 = {"exp2": 63, "exp2zero": 64}  # the last bucket's bound is 2^63 in both


class CounterSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """With `perf_event_array` each event of that array counts one, for `flush_interval` seconds.

    Ours, in every kind of metric: `map` is the map's name where it is not the metric's, so
    that several metrics can come from one map; `value` is the member of the value's struct.
    `multiplier` makes the metric's unit of the map's, such as seconds of nanoseconds.
    After `evict_after` without a change a key is taken out of its map; 0 is never. Not for maps
    that the program itself reads, so not for gauges.
    `max_series` is ebpf.max_series of this metric alone; the smaller of both holds."""

    name: MetricName
    help: str = ""
    perf_event_array: bool = False
    flush_interval: GoDuration = GoDuration("1h")
    labels: tuple[LabelSpec, ...] = ()
    map: CName | None = None
    value: FieldPath = ""
    multiplier: Multiplier = 1.0
    evict_after: GoDuration = GoDuration("0")
    max_series: AtLeastOne | None = None

    @property
    def map_name(self) -> str:
        return self.map or self.name

    def faults(self) -> Iterator[Fault]:
        yield from label_faults(self.labels)
        if self.perf_event_array:
            yield from _event_faults(self)


class GaugeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Ours: upstream had only counters. The value is the map's value as it is now."""

    name: MetricName
    help: str = ""
    labels: tuple[LabelSpec, ...] = ()
    map: CName | None = None
    value: FieldPath = ""
    multiplier: Multiplier = 1.0
    max_series: AtLeastOne | None = None

    @property
    def map_name(self) -> str:
        return self.map or self.name

    def faults(self) -> Iterator[Fault]:
        yield from label_faults(self.labels)


class HistogramSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Two layouts. With a last label `bucket`: one u64 row per bucket, the sum in bucket
    bucket_max + 1 (upstream's). Without it (ours): the value is a struct of u64
    slots[bucket_max - bucket_min + 1], overflow, sum; per-CPU or shared.
    A `bucket_multiplier` of 0 means 1, as upstream has it.
    """

    name: MetricName
    help: str = ""
    bucket_type: BucketType = "exp2"
    bucket_min: int = 0
    bucket_max: int = 0
    bucket_keys: tuple[float, ...] = ()
    bucket_multiplier: Annotated[float, Meta(ge=0)] = 1.0
    labels: tuple[LabelSpec, ...] = ()
    map: CName | None = None
    value: FieldPath = ""
    evict_after: GoDuration = GoDuration("0")
    max_series: AtLeastOne | None = None

    @property
    def map_name(self) -> str:
        return self.map or self.name

    @property
    def lines(self) -> int:
        """Of one label set: its buckets, +Inf, count and sum."""
        fixed = self.bucket_type == "fixed"
        return (len(self.bucket_keys) if fixed else self.bucket_max - self.bucket_min + 1) + 3

    def faults(self) -> Iterator[Fault]:
        yield from label_faults(self.labels)
        if self.max_series is not None and self.max_series < self.lines:
            want = f"at least {self.lines}, the lines of one label set"
            yield Fault(("max_series",), "too small", self.max_series, want)
        names = [label.name for label in self.labels]
        for index, name in enumerate(names):
            if name == "le":
                yield Fault(("labels", index, "name"), "kept for Prometheus' buckets", name)
            elif name == "bucket" and index != len(names) - 1:
                yield Fault(("labels", index, "name"), "not the last label", name)
        yield from self._fixed_faults() if self.bucket_type == "fixed" else self._range_faults()

    def _fixed_faults(self) -> Iterator[Fault]:
        also = (("bucket_type",),)
        if not self.bucket_keys:
            want = "the upper bounds of fixed buckets"
            yield Fault(("bucket_keys",), "is missing or empty", want=want, also=also)
        for index, (low, high) in enumerate(pairwise(self.bucket_keys)):
            if low >= high:
                want = f"numbers that grow, it comes after {low:g}"
                yield Fault(("bucket_keys", index + 1), "too small", high, want, also)

    def _range_faults(self) -> Iterator[Fault]:
        also = (("bucket_type",), ("bucket_min",))
        count = self.bucket_max - self.bucket_min + 1
        most = _MAX_EXP2.get(self.bucket_type)
        if count < 1:
            want = f"at least bucket_min ({self.bucket_min})"
            yield Fault(("bucket_max",), "too small", self.bucket_max, want, also)
        elif most is not None and self.bucket_max > most:
            want = f"at most {most}: values have 64 bits"
            yield Fault(("bucket_max",), "too large", self.bucket_max, want, also)
        elif count > MAX_BUCKETS:
            want = f"at most {MAX_BUCKETS} buckets, it makes {count}"
            yield Fault(("bucket_max",), "too large", self.bucket_max, want, also)
        if most is not None and self.bucket_min < 0:
            yield Fault(("bucket_min",), "too small", self.bucket_min, "at least 0", also[:1])


MetricSpec: TypeAlias = CounterSpec | GaugeSpec | HistogramSpec


class MetricsSpec(Struct, frozen=True, forbid_unknown_fields=True):
    counters: tuple[CounterSpec, ...] = ()
    gauges: tuple[GaugeSpec, ...] = ()
    histograms: tuple[HistogramSpec, ...] = ()

    def faults(self) -> Iterator[Fault]:
        lists: dict[str, Sequence[MetricSpec]] = {
            "counters": self.counters,
            "gauges": self.gauges,
            "histograms": self.histograms,
        }
        seen: dict[str, str] = {}
        for key, metrics in lists.items():
            for index, metric in enumerate(metrics):
                if metric.name in seen:
                    first = f"is there twice, first as {seen[metric.name]}"
                    yield Fault((key, index, "name"), first, metric.name)
                seen.setdefault(metric.name, f"{key}[{index}]")
        yield from _eviction_faults(lists)


def _eviction_faults(lists: Mapping[str, Sequence[MetricSpec]]) -> Iterator[Fault]:
    """A key of a map goes for all of its metrics or for none."""
    first: dict[str, MetricSpec] = {}
    for key, metrics in lists.items():
        for index, metric in enumerate(metrics):
            before = first.setdefault(metric.map_name, metric)
            if evict_after(before) != evict_after(metric):
                want = f"the same as {before.name}, which is from map {metric.map_name} too"
                got = evict_after(metric)
                place: tuple[str | int, ...] = (key, index)
                if not isinstance(metric, GaugeSpec):
                    place = (*place, "evict_after")
                yield Fault(place, "has another evict_after", got, want)


def evict_after(metric: MetricSpec) -> GoDuration:
    """0 is never. Gauges are state of their program's."""
    return GoDuration("0") if isinstance(metric, GaugeSpec) else metric.evict_after


def _event_faults(spec: CounterSpec) -> Iterator[Fault]:
    """Events are bytes: no type is declared for them."""
    want = "none with perf_event_array: an event's type is not known"
    if spec.value:
        yield Fault(("value",), "not possible", spec.value, want)
    if spec.evict_after:
        alternative = "flush_interval, which events have instead"
        yield Fault(("evict_after",), "not possible", spec.evict_after, alternative)
    for index, label in enumerate(spec.labels):
        if label.field:
            yield Fault(("labels", index, "field"), "not possible", label.field, want)
