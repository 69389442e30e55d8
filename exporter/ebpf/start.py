"""A program from its files to a running collector: decoders made, loaded, attached, put together.

The one place that knows how the parts of a program fit; it holds no logic of theirs. What can be
found wrong without the kernel is found before anything is loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.decoders import Decode, DecodeContext, chain
from exporter.ebpf import backends, kernel
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.metricspec import MetricSpec
from exporter.ebpf.spans import Span, SpanReader
from exporter.ebpf.spec import Program, ProgramSpec
from exporter.errors import BpfError, DecodeError


class Settings(NamedTuple):
    """What holds for every program: the metrics' prefix, series per family, how to load, and who
    takes spans; nobody does unless ebpf.otlp names a collector."""

    prefix: str
    max_series: int
    loading: kernel.Options = kernel.DEFAULTS
    spans: Callable[[Span], None] | None = None


def start(program: Program, settings: Settings, context: DecodeContext) -> ProgramCollector:
    """Loads and attaches; whoever gets it closes `.loaded`. Raises BpfError with one line."""
    verified = kernel.read_verified(program)
    declared = verified.declared
    enums = _enums(program.spec)
    if enums:
        file = settings.loading.custom_btf
        names = context.enums.of_program(declared.btf, Path(file) if file else None)
        names.load(enums)
        context = context._replace(enums=names)
    decoders = _decoders(program, context)
    spans = _span_readers(program, settings.spans, context)
    collector = ProgramCollector(
        backends.load(program, settings.loading, verified),
        program.spec,
        settings.prefix,
        settings.max_series,
        decoders,
        declared,
        context.clock,
    )
    if program.spec.cgroup_id_map:
        collector.choose_cgroups(program.spec.cgroup_id_map, context.fs)
    collector.read_spans(spans)
    if program.spec.tracing.spans and settings.spans is None:
        collector.note("tracing.spans are off: ebpf.otlp names no collector")
    return collector


def _span_readers(
    program: Program, out: Callable[[Span], None] | None, context: DecodeContext
) -> list[tuple[str, SpanReader]]:
    """By ring buffer. Labels are looked at even if nobody wants the spans."""
    try:
        readers = [
            (each, [chain(label, context) for label in each.labels])
            for each in program.spec.tracing.spans
        ]
    except DecodeError as error:
        raise BpfError(f"{program.yaml}: {error}") from None
    if out is None:
        return []
    return [
        (spec.ringbuf, SpanReader(spec, decoders, context.clock, out)) for spec, decoders in readers
    ]


def metrics_of(spec: ProgramSpec) -> list[MetricSpec]:
    return [*spec.metrics.counters, *spec.metrics.gauges, *spec.metrics.histograms]


def _enums(spec: ProgramSpec) -> set[str]:
    return {
        decoder.enum
        for metric in metrics_of(spec)
        for label in metric.labels
        for decoder in label.decoders
        if decoder.name == "enum" and decoder.enum
    }


def _decoders(program: Program, context: DecodeContext) -> Mapping[str, Sequence[Decode]]:
    try:
        return {
            metric.name: [chain(label, context) for label in metric.labels]
            for metric in metrics_of(program.spec)
        }
    except DecodeError as error:
        raise BpfError(f"{program.yaml}: {error}") from None
