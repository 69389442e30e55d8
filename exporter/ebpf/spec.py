"""What a program's YAML says: the format of cloudflare/ebpf_exporter 2.x (FORMATS), extended.

Pure: reads text, knows neither objects nor kernels. Structs mirror the file key by key; their
`faults` are the rules that need no object.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from exporter.config import Fault, Limits, doubles, load_yaml
from exporter.ebpf.labelspec import LabelSpec, Text, double_faults, size_faults
from exporter.ebpf.metricspec import CName, MetricsSpec

_LIMITS = Limits(bytes=1 << 20)


class SpanSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Names of spans' labels are free: they never reach Prometheus. Without a `name` a span is
    called like its label span_name, or the ring buffer."""

    ringbuf: CName
    name: str = ""
    service: str = ""
    labels: tuple[LabelSpec, ...] = ()

    def faults(self) -> Iterator[Fault]:
        yield from double_faults("labels", [label.name for label in self.labels])
        yield from size_faults(self.labels)
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
        yield from double_faults("hooks", [hook.name for hook in self.hooks])
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
