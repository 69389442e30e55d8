"""Whether a map's bytes are what a metric of the YAML says they are: keys, values, buckets.

Pure: compares a spec with a map as its object declares it (elf.py), by size and, where there is
BTF, field by field. Each finding is (key path below the metric, one line).
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from exporter.ebpf.btf import Btf
from exporter.ebpf.elf import Map
from exporter.ebpf.fields import Part, find_field
from exporter.ebpf.findings import Finding
from exporter.ebpf.hist import bucket_numbers, struct_width
from exporter.ebpf.labelspec import LabelSpec
from exporter.ebpf.metricspec import CounterSpec, HistogramSpec, MetricSpec, evict_after
from exporter.errors import BpfError

# include/uapi/linux/bpf.h, enum bpf_map_type
PER_CPU = frozenset((5, 6, 10))
READABLE = {1: "hash", 2: "array", 5: "percpu_hash", 6: "percpu_array", 9: "lru_hash"}
READABLE |= {10: "lru_percpu_hash"}
EVENTS = {4: "perf_event_array", 27: "ringbuf"}
_ARRAYS = (2, 6)
_WORD = 8
_COUNTS = (8, 4)  # u64; a u32 is read too
_NO_KEY = 4  # without labels a map still has a key, the u32 0
_MOST_FIELDS, _MOST_STEPS = 512, 4096  # a BPF key has at most 512 bytes


class Field(NamedTuple):
    """A scalar of a key, inside however many structs and arrays. Bytes from the key's start."""

    name: str
    offset: int
    size: int


class Layout(NamedTuple):
    """Where a metric's bytes are: one Part of the key for each label (a `cpu` that is made from
    per-CPU values has none), and its part of the value, None for the whole."""

    key: tuple[Part, ...]
    value: Part | None


def is_row_per_bucket(spec: MetricSpec) -> bool:
    """Upstream's histogram layout: a last label `bucket`, one u64 row for each."""
    return (
        isinstance(spec, HistogramSpec) and bool(spec.labels) and spec.labels[-1].name == "bucket"
    )


def is_split_by_cpu(spec: MetricSpec) -> bool:
    """A last label `cpu` that no member of the key stands for: made from per-CPU values."""
    return bool(spec.labels) and spec.labels[-1].name == "cpu" and not spec.labels[-1].field


def needs_types(spec: MetricSpec) -> bool:
    """Whether the YAML names members, which only the object's BTF can place."""
    return bool(spec.value) or any(label.field for label in spec.labels)


def layout_of(spec: MetricSpec, found: Map, btf: Btf | None) -> Layout:
    """Raises BpfError, one line, for a member that the key or value does not have."""
    labels = _in_key(spec, found)
    key: list[Part] = []
    at = 0
    for label in labels:
        if label.field:
            key.append(_label_part(label, found, btf))
            continue
        key.append(Part(at, label.size))
        at += label.size + label.padding
    value = None
    if spec.value:
        value = find_field(_types(found.value, "value", found, btf), found.value, spec.value)
    return Layout(tuple(key), value)


def key_sizes(spec: MetricSpec, found: Map, btf: Btf | None) -> dict[int, int]:
    """Bytes of the labels that say no size but name a field, by their index; those only whose
    field is there."""
    sizes: dict[int, int] = {}
    for index, label in enumerate(spec.labels):
        if label.field and not label.size and btf and found.key:
            with suppress(BpfError):
                sizes[index] = find_field(btf, found.key, label.field).size
    return sizes


def map_findings(spec: MetricSpec, found: Map, btf: Btf | None) -> Iterator[Finding]:
    """Everything in which a metric and its map differ."""
    if isinstance(spec, CounterSpec) and spec.perf_event_array:
        if found.type not in EVENTS:
            yield (
                "perf_event_array",
                f"map {found.name!r} is {_kind(found)}, want {_listed(EVENTS)}",
            )
        return
    if found.type not in READABLE:
        yield "", f"map {found.name!r} is {_kind(found)}, want one of {_listed(READABLE)}"
        return
    if any(label.field for label in spec.labels):
        yield from _field_findings(spec, found, btf)
    else:
        yield from _key_findings(spec, found, btf)
    if evict_after(spec) and found.type in _ARRAYS:
        yield "evict_after", f"map {found.name!r} is {_kind(found)}, whose keys cannot be deleted"
    yield from _value_findings(spec, found, btf)


def key_fields(btf: Btf, key: int) -> list[Field]:
    """The scalars of a key's type, in order; [] where BTF is odd enough to have no answer."""
    fields: list[Field] = []
    pending = [(key, "", 0)]
    for _ in range(_MOST_STEPS):
        if not pending or len(fields) >= _MOST_FIELDS:
            break
        number, name, offset = pending.pop(0)
        found = btf.resolve(number)
        if found.kind in ("struct", "union"):
            inner = [
                (member.type, f"{name}.{member.name}".strip("."), offset + member.offset_bits // 8)
                for member in btf.members(found)
                if not member.bits
            ]
            pending = inner + pending
        elif found.kind == "array":
            element, count = btf.element(found)
            size = btf.size(element)
            if btf.resolve(element).kind in ("struct", "union", "array"):
                count = min(count, _MOST_FIELDS)
                pending = [
                    (element, f"{name}[{index}]", offset + index * size) for index in range(count)
                ] + pending
            else:  # text or an address: may be cut between elements
                fields += [
                    Field(name, offset + index * size, size)
                    for index in range(min(count, _MOST_FIELDS))
                ]
        else:
            fields.append(Field(name, offset, btf.size(number)))
    return fields


def _in_key(spec: MetricSpec, found: Map) -> Sequence[LabelSpec]:
    made = found.type in PER_CPU and is_split_by_cpu(spec)
    return spec.labels[:-1] if made else spec.labels


def _types(number: int, what: str, found: Map, btf: Btf | None) -> Btf:
    if btf is None or not number:
        raise BpfError(f"map {found.name!r} has no {what} type, want __type({what}, struct …)")
    return btf


def _label_part(label: LabelSpec, found: Map, btf: Btf | None) -> Part:
    part = find_field(_types(found.key, "key", found, btf), found.key, label.field)
    if label.size and label.size != part.size:
        raise BpfError(
            f"got a size of {label.size}, field {label.field!r} of map {found.name!r}'s key has "
            f"{part.size} bytes: leave size out"
        )
    return part


def _field_findings(spec: MetricSpec, found: Map, btf: Btf | None) -> Iterator[Finding]:
    for index, label in enumerate(_in_key(spec, found)):
        if not label.field:  # a last `cpu`, all others have one
            text = f"is missing: map {found.name!r} is not per CPU, so its key must have the label"
            yield f"labels[{index}].field", text
            continue
        try:
            _label_part(label, found, btf)
        except BpfError as error:
            yield f"labels[{index}].field", str(error)


def _key_findings(spec: MetricSpec, found: Map, btf: Btf | None) -> Iterator[Finding]:
    labels = _in_key(spec, found)
    if not labels:
        if found.key_size != _NO_KEY:
            yield "labels", f"got none for map {found.name!r}, whose key has {found.key_size} bytes"
        return
    if labels[-1].size == 0:
        text = f"got 0, want the label's bytes in the key: map {found.name!r} is not per CPU"
        yield f"labels[{len(labels) - 1}].size", text
        return
    total = sum(label.size + label.padding for label in labels)
    if total != found.key_size:
        parts = " + ".join(
            f"{label.name} {label.size}" + (f" + padding {label.padding}" if label.padding else "")
            for label in labels
        )
        yield (
            "labels",
            f"got {total} bytes ({parts}), want {found.key_size}, the key of map {found.name!r}"
            + _key_shown(found, btf),
        )
        return
    if btf and found.key:
        yield from _cut_findings(labels, found, btf)


def _cut_findings(labels: Sequence[LabelSpec], found: Map, btf: Btf) -> Iterator[Finding]:
    """Labels that begin or end inside of a field read a part of a number."""
    fields = key_fields(btf, found.key)
    start = 0
    for index, label in enumerate(labels):
        end = start + label.size
        for field in fields:
            whole_key = field.offset == 0 and field.size == found.key_size
            inside = any(field.offset < edge < field.offset + field.size for edge in (start, end))
            if inside and not whole_key:
                yield (
                    f"labels[{index}]",
                    f"{label.name!r} is bytes {start} to {end} of the key, which cuts its field "
                    f"{field.name!r} (bytes {field.offset} to {field.offset + field.size})",
                )
                break
        start = end + label.padding


def _value_findings(spec: MetricSpec, found: Map, btf: Btf | None) -> Iterator[Finding]:
    part: Part | None = None
    size, what = found.value_size, f"the value of map {found.name!r}"
    if spec.value:
        try:
            part = find_field(_types(found.value, "value", found, btf), found.value, spec.value)
        except BpfError as error:
            yield "value", str(error)
            return
        size, what = part.size, f"field {spec.value!r} of map {found.name!r}'s value"
    if isinstance(spec, HistogramSpec) and not is_row_per_bucket(spec):
        count, words = len(bucket_numbers(spec)), struct_width(spec)
        if size != words * _WORD:
            where = "bucket_keys" if spec.bucket_type == "fixed" else "bucket_max"
            yield (
                where,
                f"{count} buckets, overflow and sum are {words * _WORD} bytes, {what} has {size}"
                + _slots_shown(size),
            )
    elif size not in _COUNTS or (part and not part.scalar):
        hint = ""
        if part is None and btf and found.value and btf.resolve(found.value).kind == "struct":
            hint = ", or `value` to name one of its members"
        yield "value" if part else "", f"{what} has {size} bytes, want 8 (u64){hint}"


def _slots_shown(value_size: int) -> str:
    words, rest = divmod(value_size, _WORD)
    if rest or words < 3:
        return ": want u64 slots[], u64 overflow, u64 sum, or a last label `bucket`"
    return f": room for {words - 2} buckets"


def _key_shown(found: Map, btf: Btf | None) -> str:
    fields = key_fields(btf, found.key) if btf and found.key else []
    if not 1 < len(fields) <= 12:
        return ""
    return ": " + ", ".join(f"{f.name} {f.size} at {f.offset}" for f in fields)


def _kind(found: Map) -> str:
    return READABLE.get(found.type) or EVENTS.get(found.type) or f"of map type {found.type}"


def _listed(kinds: dict[int, str]) -> str:
    return ", ".join(kinds.values())
