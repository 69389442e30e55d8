"""What a program's YAML says: the format of cloudflare/ebpf_exporter 2.x (FORMATS), extended.

Pure: reads text, knows neither objects nor kernels. Structs mirror the file key by key; their
`faults` are the rules that need no object.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from exporter.config import Fault, GoDuration, Limits, doubles, load_yaml

BucketType = Literal["exp2", "exp2zero", "linear", "fixed"]
MetricName = Annotated[
    str,
    Meta(
        pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        extra={"want": "a metric name: letters, digits, _ and :, no digit first"},
    ),
]
FieldPath = Annotated[
    str,
    Meta(
        pattern=r"^([a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*)?$",
        extra={"want": "a member of a C struct, such as pid or port.low"},
    ),
]
CName = Annotated[
    str,
    Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", extra={"want": "a name as C has it"}),
]
Text = Annotated[str, Meta(min_length=1)]
Bytes = Annotated[int, Meta(ge=0)]
Multiplier = Annotated[float, Meta(gt=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
MAX_BUCKETS = 1024
_MAX_EXP2 = {"exp2": 63, "exp2zero": 64}  # the last bucket's bound is 2^63 in both
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_LIMITS = Limits(bytes=1 << 20)


class DecoderSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One step from key bytes to label text. Options apply to the decoder that `name` says.

    `controller` is ours and cgroup's: the hierarchy that the id belongs to ("memory"); "" is the
    unified one. `field` is ours and pod's: what of the path is wanted; "class" is guaranteed,
    burstable, besteffort, offline or system. `enum` and `strip` are ours and enum's: the C enum,
    and a prefix of its names that is left out. The two cache sizes are upstream's, read and without
    effect: ours are bounded.
    """

    name: Text
    static_map: dict[str, str] = {}
    allow_unknown: bool = False
    regexps: tuple[str, ...] = ()
    controller: str = ""
    enum: str = ""
    strip: str = ""
    lru_cache_size: Bytes = 0
    skip_cache_size: Bytes = 0
    field: Literal["uid", "container", "qos", "class"] = "class"


class LabelSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """`size` bytes of the key, then `padding` bytes that are passed over. Or (ours) `field`: the
    member of the key's struct that has this name; a `size` beside it is compared with the
    member's. Labels with fields come in any order and need not name every member."""

    name: Text
    size: Bytes = 0
    padding: Bytes = 0
    decoders: tuple[DecoderSpec, ...] = ()
    field: FieldPath = ""


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
        yield from _label_faults(self.labels)
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
        yield from _label_faults(self.labels)


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
        yield from _label_faults(self.labels)
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


class SpanSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Names of spans' labels are free: they never reach Prometheus. Without a `name` a span is
    called like its label span_name, or the ring buffer."""

    ringbuf: CName
    name: str = ""
    service: str = ""
    labels: tuple[LabelSpec, ...] = ()

    def faults(self) -> Iterator[Fault]:
        yield from _double_faults("labels", [label.name for label in self.labels])
        yield from _size_faults(self.labels)
        for index, label in enumerate(self.labels):
            if label.field:
                want = "size and padding: a record's type is not known"
                yield Fault(("labels", index, "field"), "not possible", label.field, want)


class TracingSpec(Struct, frozen=True, forbid_unknown_fields=True):
    spans: tuple[SpanSpec, ...] = ()


class CgroupIdMapSpec(Struct, frozen=True, forbid_unknown_fields=True):
    name: CName
    type: Literal["hash", "cgrp_storage"] = "hash"
    regexps: tuple[str, ...] = ()


class HookSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Ours: one thing that a program wants to see, and the ways to see it, best first.

    Each alternative names the BPF functions (one, or several that only work together) of the
    object. The first alternative whose functions all load and attach is used. A hook that is
    not optional and finds no way turns the whole program off. Functions that no hook names are
    attached each by itself, as upstream does.
    """

    name: Text
    any_of: Annotated[
        tuple[Annotated[tuple[CName, ...], Meta(min_length=1)], ...], Meta(min_length=1)
    ]
    optional: bool = False


class AttachSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Ours: where a function goes that no event calls. XDP and tc functions to `interfaces`, tc's
    in one `direction`; cgroup functions to the `cgroup` of this path and all below it."""

    function: CName
    interfaces: tuple[Text, ...] = ()
    direction: Literal["ingress", "egress"] = "ingress"
    cgroup: Text | None = None

    def faults(self) -> Iterator[Fault]:
        also = (("interfaces",), ("cgroup",))
        if bool(self.interfaces) == (self.cgroup is not None):
            yield Fault((), "says no one place", want="either interfaces or cgroup", also=also)
        for index in doubles(self.interfaces):
            yield Fault(("interfaces", index), "is there twice", self.interfaces[index])


class ProgramSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `name` is read and without effect, as upstream: the file's name counts.

    Ours: `constants` are numbers for variables of the object's rodata, by name; what a program
    may be asked to do beside the usual."""

    name: str = ""
    metrics: MetricsSpec = MetricsSpec()
    tracing: TracingSpec = TracingSpec()
    kaddrs: tuple[CName, ...] = ()
    cgroup_id_map: CgroupIdMapSpec | None = None
    hooks: tuple[HookSpec, ...] = ()
    attach: tuple[AttachSpec, ...] = ()
    constants: dict[CName, Annotated[int, Meta(ge=0)]] = {}

    def faults(self) -> Iterator[Fault]:
        metrics = self.metrics
        if not (metrics.counters or metrics.gauges or metrics.histograms or self.tracing.spans):
            yield Fault((), "has nothing to export", want="metrics or tracing")
        yield from _double_faults("hooks", [hook.name for hook in self.hooks])
        for index in doubles([each.function for each in self.attach]):
            function = self.attach[index].function
            yield Fault(("attach", index, "function"), "is there twice", function)
        for index in doubles(self.kaddrs):
            yield Fault(("kaddrs", index), "is there twice", self.kaddrs[index])


class Program(NamedTuple):
    """A program as found: `name`.yaml beside `name`.bpf.o (which may not be there yet)."""

    name: str
    yaml: Path
    object: Path
    spec: ProgramSpec


def read_program(yaml: Path) -> Program:
    """The program that `yaml` describes. Does not look at its object.

    Keys without a value count as absent, as upstream's reader has them. Raises ConfigError with
    every problem that the file has by itself."""
    spec = load_yaml(yaml, ProgramSpec, limits=_LIMITS, nulls="default")
    return Program(yaml.stem, yaml, yaml.with_suffix(".bpf.o"), spec)


def _label_faults(labels: Sequence[LabelSpec]) -> Iterator[Fault]:
    for index, label in enumerate(labels):
        if not _LABEL.fullmatch(label.name):
            want = "letters, digits and _, no digit and no __ first"
            yield Fault(("labels", index, "name"), "not allowed", label.name, want)
    yield from _double_faults("labels", [label.name for label in labels])
    yield from _size_faults(labels)
    yield from _field_faults(labels)


def _size_faults(labels: Sequence[LabelSpec]) -> Iterator[Fault]:
    for index, label in enumerate(labels):
        # a last `cpu` is made from the map's per-CPU values and has no bytes in the key
        made = label.name == "cpu" and index == len(labels) - 1
        if label.size == 0 and not label.field and not made:
            want = "the bytes of the key that the label has"
            yield Fault(("labels", index, "size"), "is missing or 0", want=want)


def _field_faults(labels: Sequence[LabelSpec]) -> Iterator[Fault]:
    """By name or by position: a mixture would leave open where the others are."""
    by_name = [label.field != "" for label in labels]
    for index, label in enumerate(labels):
        made = label.name == "cpu" and index == len(labels) - 1
        if any(by_name) and not label.field and not made:
            want = "one, as other labels of this metric have"
            yield Fault(("labels", index, "field"), "is missing", want=want)
        if label.field and label.padding:
            want = "none: a field is where its struct has it"
            yield Fault(("labels", index, "padding"), "beside a field", label.padding, want)


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


def _double_faults(key: str, names: Sequence[str]) -> Iterator[Fault]:
    for index in doubles(names):
        yield Fault((key, index, "name"), "is there twice", names[index])
