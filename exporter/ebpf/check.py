"""Everything that is wrong with programs, at once, unprivileged, before anything is loaded.

Compares each YAML with its object (pure ELF and BTF) and the programs with each other. Raises
nothing: whatever the bytes, the answer is a list of problems.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from exporter.config import line_of
from exporter.decoders import label_problems, regexp
from exporter.ebpf.cgroupids import KEY_SIZES
from exporter.ebpf.constants import constant_findings, kaddr_findings
from exporter.ebpf.elf import BpfObject, verify_object
from exporter.ebpf.findings import Finding, below, missing
from exporter.ebpf.labelspec import LabelSpec
from exporter.ebpf.layout import (
    EVENTS,
    is_row_per_bucket,
    key_sizes,
    map_findings,
)
from exporter.ebpf.metricspec import HistogramSpec, MetricSpec
from exporter.ebpf.places import kind_of
from exporter.ebpf.spec import Program, ProgramSpec
from exporter.errors import BpfError, Problem

LineOf = Callable[[Path, str], int]
_UNTYPED = "has no type information, so no maps: compile it with clang -g"
_CGROUP_MAPS = {"hash": (1, 9), "cgrp_storage": (32,)}  # an LRU hash is a hash, as upstream's is


def check_programs(
    programs: Iterable[Program],
    line_of: LineOf = line_of,
    verify: Callable[[Path], BpfObject] = verify_object,
) -> list[Problem]:
    """All problems, program by program; [] if there is none.

    The programs were read (spec.read_program), so their files are sound by themselves.
    `line_of(yaml, "metrics.counters[0].labels[1]")` is the line of a key path in a YAML file, 0
    if not known. `verify` reads an object or raises BpfError.
    """
    problems: list[Problem] = []
    first: dict[str, tuple[Program, str, MetricSpec]] = {}
    for program in programs:
        for path, text in _decoder_findings(program.spec):
            problems.append(_problem(program, line_of, path, text))
        declared: BpfObject | None = None
        try:
            declared = verify(program.object)
        except BpfError as error:
            problems.append(Problem(str(program.object), 0, "", _without(str(error), program)))
        else:
            if declared.btf is None:
                problems.append(Problem(str(program.object), 0, "", _UNTYPED))
                declared = None
        if declared:
            for path, text in _object_findings(program.spec, declared):
                problems.append(_problem(program, line_of, path, text))
        for path, kind, spec in _metrics(program.spec):
            if spec.name not in first:
                first[spec.name] = (program, kind, spec)
                continue
            said = _difference(*first[spec.name][1:], kind, spec)
            if said:
                text = f"{spec.name!r} is in {first[spec.name][0].yaml} too, {said}"
                problems.append(_problem(program, line_of, f"{path}.name", text))
    return problems


def _metrics(spec: ProgramSpec) -> Iterator[tuple[str, str, MetricSpec]]:
    """Key path, Prometheus type and spec of each metric."""
    for index, counter in enumerate(spec.metrics.counters):
        yield f"metrics.counters[{index}]", "counter", counter
    for index, gauge in enumerate(spec.metrics.gauges):
        yield f"metrics.gauges[{index}]", "gauge", gauge
    for index, histogram in enumerate(spec.metrics.histograms):
        yield f"metrics.histograms[{index}]", "histogram", histogram


def _decoder_findings(spec: ProgramSpec) -> Iterator[Finding]:
    """What cannot be decoded, whatever the object; spec.py has seen to the rest of the YAML."""
    for path, _, metric in _metrics(spec):
        yield from below(path, _label_findings(metric.labels))
    for index, span in enumerate(spec.tracing.spans):
        yield from below(f"tracing.spans[{index}]", _label_findings(span.labels))
    if spec.cgroup_id_map and spec.cgroup_id_map.regexps:
        wrong = regexp.syntax_problem(spec.cgroup_id_map.regexps)
        if wrong:
            yield "cgroup_id_map.regexps", wrong


def _label_findings(labels: Sequence[LabelSpec]) -> Iterator[Finding]:
    for index, label in enumerate(labels):
        for text in label_problems(label):
            yield f"labels[{index}].decoders", text


def _sized_findings(metric: MetricSpec, sizes: Mapping[int, int]) -> Iterator[Finding]:
    """Decoders that cannot be first on as many bytes as a field has: by themselves, without the
    size that the field gives, they may be fine."""
    for index, size in sizes.items():
        label = metric.labels[index]
        known = set(label_problems(label))
        for text in label_problems(replace(label, size=size)):
            if text not in known:
                yield f"labels[{index}].decoders", text


def _object_findings(spec: ProgramSpec, declared: BpfObject) -> Iterator[Finding]:
    """What the YAML says of the object that is not so."""
    for path, _, metric in _metrics(spec):
        found = declared.maps.get(metric.map_name)
        if found is None:
            key = "map" if metric.map else "name"
            yield f"{path}.{key}", missing("map", metric.map_name, declared.maps)
            continue
        try:
            findings = [
                *map_findings(metric, found, declared.btf),
                *_sized_findings(metric, key_sizes(metric, found, declared.btf)),
            ]
        except BpfError as error:
            findings = [("", str(error))]
        yield from below(path, findings)
    for index, hook in enumerate(spec.hooks):
        for way, functions in enumerate(hook.any_of):
            for function in functions:
                if function not in declared.functions:
                    where = f"hooks[{index}].any_of[{way}]"
                    yield where, missing("function", function, declared.functions)
    for index, place in enumerate(spec.attach):
        section = declared.functions.get(place.function)
        if section is None:
            text = missing("function", place.function, declared.functions)
            yield f"attach[{index}].function", text
            continue
        kind = kind_of(section)
        if kind is None:
            text = f"{place.function!r} is a {section} function, which needs no place"
            yield f"attach[{index}].function", text
        elif (kind == "cgroup") != (place.cgroup is not None):
            want = "cgroup" if kind == "cgroup" else "interfaces"
            text = f"{place.function!r} is a {section} function, want {want}"
            yield f"attach[{index}]", text
    for index, span in enumerate(spec.tracing.spans):
        found = declared.maps.get(span.ringbuf)
        if found is None:
            yield f"tracing.spans[{index}].ringbuf", missing("map", span.ringbuf, declared.maps)
        elif found.type not in EVENTS:
            text = f"map {span.ringbuf!r} is of map type {found.type}, want ringbuf"
            yield f"tracing.spans[{index}].ringbuf", text
    yield from kaddr_findings(spec, declared)
    yield from constant_findings(spec, declared)
    if spec.cgroup_id_map:
        found = declared.maps.get(spec.cgroup_id_map.name)
        if found is None:
            text = missing("map", spec.cgroup_id_map.name, declared.maps)
            yield "cgroup_id_map.name", text
        elif found.type not in _CGROUP_MAPS[spec.cgroup_id_map.type]:
            text = f"map {found.name!r} is of map type {found.type}, want {spec.cgroup_id_map.type}"
            yield "cgroup_id_map.type", text
        elif (found.key_size, found.value_size) != (KEY_SIZES[spec.cgroup_id_map.type], 8):
            yield (
                "cgroup_id_map.name",
                f"map {found.name!r} has {found.key_size} bytes of key and {found.value_size} of "
                f"value, want {KEY_SIZES[spec.cgroup_id_map.type]} and 8",
            )


def _difference(kind: str, spec: MetricSpec, other_kind: str, other: MetricSpec) -> str | None:
    """Why two metrics of one name cannot be one family; None if they can."""
    if kind != other_kind:
        return f"as a {kind}, here as a {other_kind}: one name has one type"
    names, others = (
        [label.name for label in each.labels[: -1 if is_row_per_bucket(each) else None]]
        for each in (spec, other)
    )
    if names != others:
        return f"with labels {_shown(names)}, here with {_shown(others)}: one name has one set"
    if spec.help != other.help:
        return f"with help {spec.help!r}, here with {other.help!r}: one name has one help"
    if isinstance(spec, HistogramSpec) and isinstance(other, HistogramSpec):
        wanted = ("bucket_type", "bucket_min", "bucket_max", "bucket_keys", "bucket_multiplier")
        for field in wanted:
            if getattr(spec, field) != getattr(other, field):
                return f"with another {field}: histograms of one name have the same buckets"
    return None


def _shown(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _problem(program: Program, line_of: LineOf, path: str, text: str) -> Problem:
    return Problem(str(program.yaml), line_of(program.yaml, path), path, text)


def _without(text: str, program: Program) -> str:
    """The file is a Problem's own field."""
    return text.removeprefix(f"{program.object}: ")
