"""Which kernel types each function of an object follows, by its CO-RE relocations. Pure Python.

What a function needs to know of the kernel's types is taken from here, never from a list kept by
hand: a function that follows none runs on kernels whose types nobody knows.
Format: include/uapi/linux/bpf.h (struct bpf_core_relo), Documentation/bpf/btf.rst (.BTF.ext).
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from exporter.ebpf.btf import Btf
from exporter.ebpf.elf import verify_object
from exporter.ebpf.sections import STB_LOCAL, STT_FUNC, Elf, read_elf

# enum bpf_core_relo_kind
_SHIFTS = frozenset((4, 5))
_OF_ENUM = frozenset((10, 11))
_LOCAL_ID = 6
_HEADER = struct.Struct("=HBBIIIII")
_OFFSETS = struct.Struct("=II")
_BLOCK = struct.Struct("=II")
_RECORD = struct.Struct("=IIII")


class KernelType(NamedTuple):
    """`name` is the kernel's, without the ___flavour that our sources may add. `value` is the
    enumerator that is asked for; "" for other kinds."""

    kind: str
    name: str
    value: str = ""


class Relocation(NamedTuple):
    """`local` is the id of the type in the object's BTF. `bits`: a bit field is read."""

    type: KernelType
    local: int
    bits: bool


def relocations(data: bytes) -> Mapping[str, tuple[Relocation, ...]]:
    """By function, each once. Code that functions share (.text) counts for all of them.

    Raises BpfError where `verify_object` does."""
    declared = verify_object(data)
    found: dict[str, dict[Relocation, None]] = {name: {} for name in declared.functions}
    elf = read_elf(data)
    extra = elf.section(".BTF.ext")
    if declared.btf is None or extra is None:
        return dict.fromkeys(found, ())
    for section, offset, relocation in _records(elf.content(extra), declared.btf):
        owner = _function_at(elf, section, offset)
        for name in [owner] if owner in found else found:
            found[name][relocation] = None
    return {name: tuple(each) for name, each in found.items()}


def _records(extra: bytes, btf: Btf) -> Iterator[tuple[str, int, Relocation]]:
    """Section, byte offset in it, and what is there. The bytes were verified."""
    *_, header, _, _, _, _ = _HEADER.unpack_from(extra)
    if header < _HEADER.size + _OFFSETS.size:
        return
    start, size = _OFFSETS.unpack_from(extra, _HEADER.size)
    if not size:
        return
    at, end = header + start, header + start + size
    (step,) = struct.unpack_from("=I", extra, at)
    at += 4
    while at < end:
        name, count = _BLOCK.unpack_from(extra, at)
        at += _BLOCK.size
        for record in range(at, at + count * step, step):
            instruction, number, access, kind = _RECORD.unpack_from(extra, record)
            if kind != _LOCAL_ID:
                relocation = _relocation(btf, number, btf.string(access), kind)
                yield btf.string(name), instruction, relocation
        at += count * step


def _relocation(btf: Btf, number: int, access: str, kind: int) -> Relocation:
    found = btf.resolve(number)
    value = ""
    if kind in _OF_ENUM:
        values = btf.values(found)
        index = int(access.split(":")[0])
        value = plain(values[index][0]) if index < len(values) else ""
    return Relocation(
        KernelType(found.kind, plain(found.name), value), found.id, bits=kind in _SHIFTS
    )


def plain(name: str) -> str:
    """Without ___flavour (Documentation/bpf/libbpf/libbpf_overview.rst)."""
    return name.partition("___")[0] or name


def _function_at(elf: Elf, section: str, offset: int) -> str | None:
    for symbol in elf.symbols:
        inside = symbol.value <= offset < symbol.value + symbol.size
        if symbol.type == STT_FUNC and symbol.bind != STB_LOCAL and inside:
            place = elf.sections[symbol.section] if symbol.section < len(elf.sections) else None
            if place and place.name == section:
                return symbol.name
    return None
