"""A compiled BPF object as what it declares: functions, maps, variables, license. Pure Python.

`verify_object` is the gate before libbpf, which crashes on inconsistent objects: what it lets
through holds together. Needs no privilege and no kernel.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.ebpf.btf import Btf, BtfType
from exporter.ebpf.btf_verify import verify_ext, verify_types
from exporter.ebpf.sections import (
    SHF_EXECINSTR,
    SHN_LORESERVE,
    SHN_UNDEF,
    SHT_NOBITS,
    SHT_PROGBITS,
    SHT_REL,
    SHT_RELA,
    STB_LOCAL,
    STT_FUNC,
    STT_OBJECT,
    Elf,
    Section,
    read_elf,
)
from exporter.errors import BpfError

_LARGEST = 64 << 20  # bytes of a file, or of zeroed data that a file asks for
_RELOCATIONS = frozenset((0, 1, 2, 3, 4, 10))  # Documentation/bpf/llvm_reloc.rst
_INSTRUCTION = 8


class Map(NamedTuple):
    """A map as declared in `.maps`. `type` is the kernel's number (enum bpf_map_type); a size of
    0 was not given, and `max_entries` 0 is set when it is loaded. `key` and `value` are BTF type
    ids, 0 where only sizes were given."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    key: int
    value: int


class DataVariable(NamedTuple):
    """A global variable: where in its section (".rodata", ".bss" …), and its BTF type id or 0."""

    name: str
    section: str
    offset: int
    size: int
    type: int


class BpfObject(NamedTuple):
    """`functions` are the entry points, name to section ("tp_btf/timer_start"); code that they
    only call is not among them. `btf` is None for an object compiled without -g, and then
    `maps` is empty."""

    functions: Mapping[str, str]
    maps: Mapping[str, Map]
    variables: Mapping[str, DataVariable]
    license: str
    btf: Btf | None


def verify_object(source: Path | bytes, name: str = "") -> BpfObject:
    """Reads and checks an object. Raises BpfError, one line that begins with `name` (the path if
    it is one): missing, not BPF, cut off, or inconsistent in any way that libbpf might follow."""
    if isinstance(source, Path):
        name = name or str(source)
        try:
            if source.stat().st_size > _LARGEST:
                raise BpfError(f"{name}: {source.stat().st_size} bytes, want at most {_LARGEST}")
            source = source.read_bytes()
        except FileNotFoundError:
            raise BpfError(f"{name}: is missing: compile it with clang -target bpf") from None
        except OSError as error:
            raise BpfError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        return _read(source)
    except BpfError as error:
        raise BpfError(f"{name}: {error}" if name else str(error)) from None


def _read(data: bytes) -> BpfObject:
    elf = read_elf(data)
    _check_unique(elf)
    code = _check_code(elf)
    _check_relocations(elf)
    section = elf.section(".BTF")
    btf = Btf(elf.content(section)) if section else None
    if btf:
        verify_types(btf)
        _check_data_sections(elf, btf)
        extra = elf.section(".BTF.ext")
        if extra and extra.size:
            verify_ext(elf.content(extra), btf, code)
    return BpfObject(
        functions=_functions(elf),
        maps=_maps(elf, btf) if btf else {},
        variables=_variables(elf, btf),
        license=_license(elf),
        btf=btf,
    )


def _check_unique(elf: Elf) -> None:
    names = [section.name for section in elf.sections if section.type in (SHT_PROGBITS, SHT_NOBITS)]
    for name in (".BTF", ".BTF.ext", ".maps", "license", "version", ".text"):
        if names.count(name) > 1:
            raise BpfError(f"{names.count(name)} sections {name!r}, want one")
    for section in elf.sections:
        if section.type == SHT_NOBITS and section.size > _LARGEST:
            raise BpfError(f"section {section.name!r} asks for {section.size} bytes of zeroes")
        if section.name in (".BTF", ".BTF.ext", ".maps", "license", "version") and (
            section.type != SHT_PROGBITS
        ):
            raise BpfError(f"section {section.name!r} is of type {section.type}, want data")


def _check_code(elf: Elf) -> dict[str, int]:
    """Code sections by name with their bytes; functions lie inside, whole and not overlapping."""
    code: dict[str, int] = {}
    for section in elf.sections:
        if section.type != SHT_PROGBITS or not section.flags & SHF_EXECINSTR:
            continue
        if section.size % _INSTRUCTION:
            raise BpfError(f"section {section.name!r}: {section.size} bytes are no BPF code")
        if section.name in code:
            raise BpfError(f"two code sections {section.name!r}")
        code[section.name] = section.size
        _check_functions(elf, section)
    if not any(code.values()):
        raise BpfError("has no BPF functions")
    return code


def _check_functions(elf: Elf, section: Section) -> None:
    end = 0
    functions = sorted(
        (symbol for symbol in elf.symbols if symbol.section == section.number),
        key=lambda symbol: symbol.value,
    )
    for symbol in functions:
        if symbol.type != STT_FUNC:
            continue
        if symbol.value % _INSTRUCTION or symbol.size % _INSTRUCTION or not symbol.size:
            raise BpfError(f"function {symbol.name!r}: {symbol.size} bytes at {symbol.value:#x}")
        if symbol.value < end:
            raise BpfError(f"function {symbol.name!r} overlaps the one before it")
        end = symbol.value + symbol.size


def _check_relocations(elf: Elf) -> None:
    for section in elf.sections:
        if section.type == SHT_RELA:
            raise BpfError(f"section {section.name!r}: relocations with addends, which BPF has not")
        if section.type != SHT_REL:
            continue
        target = elf.sections[section.info]
        is_code = bool(target.flags & SHF_EXECINSTR)
        for relocation in elf.relocations(section):
            symbol_known = relocation.symbol < len(elf.symbols)
            inside = relocation.offset + (_INSTRUCTION if is_code else 4) <= target.size
            if not symbol_known or not inside or (is_code and relocation.offset % _INSTRUCTION):
                raise BpfError(
                    f"section {section.name!r}: relocation at {relocation.offset:#x} of "
                    f"{target.size:#x} bytes by symbol {relocation.symbol} of {len(elf.symbols)}"
                )
            if relocation.type not in _RELOCATIONS:
                raise BpfError(f"section {section.name!r}: relocation of type {relocation.type}")


def _check_data_sections(elf: Elf, btf: Btf) -> None:
    """BTF's data sections are the file's, and their variables fit in."""
    objects = {symbol.name for symbol in elf.symbols}
    for name, datasec in btf.sections().items():
        section = elf.section(name)
        for variable in btf.variables(datasec):
            if section and variable.offset + variable.size > section.size:
                raise BpfError(
                    f"variable {variable.name!r} ends at {variable.offset + variable.size} in "
                    f"section {name!r} of {section.size} bytes"
                )
            if variable.name not in objects:
                raise BpfError(f"variable {variable.name!r} of BTF is not in the symbol table")


def _functions(elf: Elf) -> dict[str, str]:
    functions = {}
    for symbol in elf.symbols:
        if symbol.type != STT_FUNC or not SHN_UNDEF < symbol.section < SHN_LORESERVE:
            continue
        section = elf.sections[symbol.section]
        if section.name != ".text" and symbol.bind != STB_LOCAL and section.flags & SHF_EXECINSTR:
            functions[symbol.name] = section.name
    return functions


def _variables(elf: Elf, btf: Btf | None) -> dict[str, DataVariable]:
    types: dict[str, int] = {}
    if btf:
        for datasec in btf.sections().values():
            types |= {variable.name: variable.type for variable in btf.variables(datasec)}
    variables = {}
    for symbol in elf.symbols:
        if symbol.type != STT_OBJECT or not SHN_UNDEF < symbol.section < SHN_LORESERVE:
            continue
        section = elf.sections[symbol.section].name
        if section.startswith((".rodata", ".data", ".bss")):
            entry = btf.type(types[symbol.name]) if btf and symbol.name in types else None
            variables[symbol.name] = DataVariable(
                symbol.name, section, symbol.value, symbol.size, entry.target if entry else 0
            )
    return variables


def _license(elf: Elf) -> str:
    section = elf.section("license")
    content = elf.content(section) if section else b""
    return content.partition(b"\0")[0].decode("utf-8", "replace")


def _maps(elf: Elf, btf: Btf) -> dict[str, Map]:
    datasec = btf.sections().get(".maps")
    if datasec is None:
        return {}
    return {
        variable.name: _map(btf, variable.name, btf.resolve(btf.type(variable.type).target))
        for variable in btf.variables(datasec)
    }


def _map(btf: Btf, name: str, definition: BtfType) -> Map:
    """Numbers are array lengths behind a pointer (__uint), types are what a pointer points to
    (__type): tools/lib/bpf/bpf_helpers.h."""
    if definition.kind != "struct":
        raise BpfError(f"map {name!r} is a {definition.kind}, want a struct with __uint and __type")
    numbers = dict.fromkeys(("type", "max_entries", "map_flags", "key_size", "value_size"), 0)
    types = dict.fromkeys(("key", "value"), 0)
    for member in btf.members(definition):
        pointer = btf.resolve(member.type)
        if member.name in numbers or member.name in types:
            if pointer.kind != "ptr":
                raise BpfError(f"map {name!r}: {member.name} is no __uint or __type")
            if member.name in types:
                types[member.name] = pointer.target
            else:
                array = btf.resolve(pointer.target)
                if array.kind != "array":
                    raise BpfError(f"map {name!r}: {member.name} is no __uint")
                numbers[member.name] = btf.element(array)[1]
    sizes = _sizes(btf, name, numbers, types)
    return Map(
        name=name,
        type=numbers["type"],
        key_size=sizes[0],
        value_size=sizes[1],
        max_entries=numbers["max_entries"],
        flags=numbers["map_flags"],
        key=types["key"],
        value=types["value"],
    )


def _sizes(
    btf: Btf, name: str, numbers: Mapping[str, int], types: Mapping[str, int]
) -> Sequence[int]:
    sizes = []
    for what in ("key", "value"):
        given = numbers[f"{what}_size"]
        size = btf.size(types[what]) if types[what] else given
        if given and given != size:
            raise BpfError(f"map {name!r}: {what}_size is {given}, its type has {size} bytes")
        sizes.append(size)
    return sizes
