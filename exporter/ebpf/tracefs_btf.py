"""What the kernel says of its tracepoints' arguments in tracefs, as types: for kernels without BTF.

A tracepoint's `format` file has each field's place, so programs that read nothing else need no
compiler and no headers. Parsing is pure; it must not know what a program does with the types.
Source: kernel/trace/trace_events.c (f_show), include/trace/stages/.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from exporter.ebpf.btf_build import Field
from exporter.ebpf.features import tracefs
from exporter.ebpf.relocations import KernelType, Relocation
from exporter.hostfs import HostFs

PREFIX = "trace_event_raw_"
"""How the kernel calls the struct of a class of events; DECLARE_TRACE_EVENT in trace_events.h."""

_FIELD = re.compile(
    r"^\s*field:(?P<declared>[^;]+);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);"
    r"(?:\s*signed:(?P<signed>[01]);)?"
)
# The type ends before a word begins, so that a long word is looked through once.
_DECLARED = re.compile(r"^(?P<type>.*\W|)(?P<name>\w+)\s*(?P<array>\[[^\]]*\])?$")
_DYNAMIC = re.compile(r"^(__(?:rel|data)_loc)\s")


def parse_format(text: str) -> list[Field]:
    """The event's own fields, those that all events have left out. What is no field is passed
    over. A dynamic one is the number that says where its bytes are, named __data_loc_<name>."""
    fields = (_field(match) for match in map(_FIELD.match, text.splitlines()) if match)
    return [f for f in fields if f is not None and not f.name.startswith("common_")]


def _field(match: re.Match[str]) -> Field | None:
    declared = _DECLARED.match(match["declared"].strip())
    if declared is None:
        return None
    kind: Literal["int", "ptr", "enum"] = "int"
    text, name, size = declared["type"].strip(), declared["name"], int(match["size"])
    elements: int | None = None
    dynamic = _DYNAMIC.match(f"{text} ")
    if dynamic:
        name = f"{dynamic[1]}_{name}"
    else:
        if text.endswith("*"):
            kind = "ptr"
        elif text.startswith("enum "):
            kind = "enum"
        if declared["array"]:
            number = declared["array"][1:-1].strip()
            # a size that is a name ("TASK_COMM_LEN") is shown so by kernels before 6.1
            elements = int(number) if number.isdecimal() else size
    return Field(name, int(match["offset"]), size, kind, match["signed"] == "1", elements)


def tracepoint_structs(
    sections: Mapping[str, str],
    relocated: Mapping[str, Sequence[Relocation]],
    host: HostFs,
) -> dict[str, list[Field]]:
    """The argument structs of a program's tracepoints that tracefs describes: `sections` and
    `relocated` are by function. A class whose events differ here is left out."""
    found: dict[str, list[Field]] = {}
    differing: set[str] = set()
    for function, section in sections.items():
        kind, _, event = section.partition("/")
        if kind not in ("tracepoint", "tp"):
            continue
        fields = _read(event, tracefs(host))
        for name in _arguments(relocated.get(function, ())) if fields else ():
            if found.setdefault(name, fields) != fields:
                differing.add(name)
    return {name: fields for name, fields in found.items() if name not in differing}


def _arguments(relocated: Iterable[Relocation]) -> list[str]:
    return sorted({each.type.name for each in relocated if is_argument(each.type)})


def is_argument(of: KernelType) -> bool:
    """Whether it is what a tracepoint passes, not a struct that the kernel itself works with."""
    return of.kind == "struct" and of.name.startswith(PREFIX)


def _read(event: str, folder: Path | None) -> list[Field]:
    try:
        return parse_format((folder / "events" / event / "format").read_text()) if folder else []
    except OSError:
        return []
