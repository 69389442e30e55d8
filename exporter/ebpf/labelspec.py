"""Labels in a program's YAML: which bytes of a key they are, and how those become text.

Pure. The rules of labels that need no object are here, for metrics and spans alike.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from exporter.config import Fault, doubles

FieldPath = Annotated[
    str,
    Meta(
        pattern=r"^([a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*)?$",
        extra={"want": "a member of a C struct, such as pid or port.low"},
    ),
]
Text = Annotated[str, Meta(min_length=1)]
Bytes = Annotated[int, Meta(ge=0)]
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


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


def label_faults(labels: Sequence[LabelSpec]) -> Iterator[Fault]:
    for index, label in enumerate(labels):
        if not _LABEL.fullmatch(label.name):
            want = "letters, digits and _, no digit and no __ first"
            yield Fault(("labels", index, "name"), "not allowed", label.name, want)
    yield from double_faults("labels", [label.name for label in labels])
    yield from size_faults(labels)
    yield from _field_faults(labels)


def size_faults(labels: Sequence[LabelSpec]) -> Iterator[Fault]:
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


def double_faults(key: str, names: Sequence[str]) -> Iterator[Fault]:
    for index in doubles(names):
        yield Fault((key, index, "name"), "is there twice", names[index])
