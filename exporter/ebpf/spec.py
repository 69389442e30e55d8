"""What a program's YAML says: the format of cloudflare/ebpf_exporter 2.x (FORMATS), extended.

Pure: reads text, knows neither objects nor kernels. Structs mirror the file key by key.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from msgspec import Struct

BucketType = Literal["exp2", "exp2zero", "linear", "fixed"]


class DecoderSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One step from key bytes to label text. Options apply to the decoder that `name` says.

    `controller` is ours and cgroup's: the hierarchy that the id belongs to ("memory"); "" is the
    unified one. The two cache sizes are upstream's, read and without effect: ours are bounded.
    """

    name: str
    static_map: dict[str, str] = {}
    allow_unknown: bool = False
    regexps: tuple[str, ...] = ()
    controller: str = ""
    lru_cache_size: int = 0
    skip_cache_size: int = 0


class LabelSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """`size` bytes of the key, then `padding` bytes that are passed over."""

    name: str
    size: int = 0
    padding: int = 0
    decoders: tuple[DecoderSpec, ...] = ()


class CounterSpec(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    help: str = ""
    perf_event_array: bool = False
    flush_interval: str = "1h"
    labels: tuple[LabelSpec, ...] = ()


class GaugeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Ours: upstream had only counters. The value is the map's value as it is now."""

    name: str
    help: str = ""
    labels: tuple[LabelSpec, ...] = ()


class HistogramSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Two layouts. With a last label `bucket`: one u64 row per bucket, the sum in bucket
    bucket_max + 1 (upstream's). Without it (ours): the value is a struct of u64
    slots[bucket_max - bucket_min + 1], overflow, sum; per-CPU or shared.
    """

    name: str
    help: str = ""
    bucket_type: BucketType = "exp2"
    bucket_min: int = 0
    bucket_max: int = 0
    bucket_keys: tuple[float, ...] = ()
    bucket_multiplier: float = 1.0
    labels: tuple[LabelSpec, ...] = ()


class MetricsSpec(Struct, frozen=True, forbid_unknown_fields=True):
    counters: tuple[CounterSpec, ...] = ()
    gauges: tuple[GaugeSpec, ...] = ()
    histograms: tuple[HistogramSpec, ...] = ()


class SpanSpec(Struct, frozen=True, forbid_unknown_fields=True):
    ringbuf: str
    name: str
    service: str = ""
    labels: tuple[LabelSpec, ...] = ()


class TracingSpec(Struct, frozen=True, forbid_unknown_fields=True):
    spans: tuple[SpanSpec, ...] = ()


class CgroupIdMapSpec(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    type: Literal["hash", "cgrp_storage"] = "hash"
    regexps: tuple[str, ...] = ()


class HookSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Ours: one thing that a program wants to see, and the ways to see it, best first.

    Each alternative names the BPF functions (one, or several that only work together) of the
    object. The first alternative whose functions all load and attach is used. A hook that is
    not optional and finds no way turns the whole program off. Functions that no hook names are
    attached each by itself, as upstream does.
    """

    name: str
    any_of: tuple[tuple[str, ...], ...]
    optional: bool = False


class ProgramSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    metrics: MetricsSpec = MetricsSpec()
    tracing: TracingSpec = TracingSpec()
    kaddrs: tuple[str, ...] = ()
    cgroup_id_map: CgroupIdMapSpec | None = None
    hooks: tuple[HookSpec, ...] = ()


class Program(NamedTuple):
    """A program as found: `name`.yaml beside `name`.bpf.o (which may not be there yet)."""

    name: str
    yaml: Path
    object: Path
    spec: ProgramSpec
