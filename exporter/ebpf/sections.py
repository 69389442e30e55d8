"""ELF64 relocatable objects: sections, symbols and relocations out of bytes, pure Python.

Every offset is checked before it is followed: any bytes give sections or a BpfError of one line,
never another exception. Knows ELF only, not what BPF makes of it (elf.py).
"""

import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from exporter.errors import BpfError

SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 0, 1, 2, 3, 4, 8, 9
SHF_EXECINSTR = 4
SHN_UNDEF, SHN_LORESERVE = 0, 0xFF00
STT_OBJECT, STT_FUNC = 1, 2
STB_LOCAL = 0

_EM_BPF, _ET_REL = 247, 1
_MACHINES = {3: "x86", 8: "MIPS", 20: "PowerPC", 21: "PowerPC64", 22: "S390", 40: "ARM"}
_MACHINES |= {62: "x86-64", 183: "ARM64", 243: "RISC-V", 258: "LoongArch"}
_KINDS = {2: "an executable", 3: "a shared library", 4: "a core dump"}
_HEADER = struct.Struct("=16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("=IIQQQQIIQQ")
_SYMBOL = struct.Struct("=IBBHQQ")
_RELOCATION = struct.Struct("=QQ")
_SHF_COMPRESSED = 0x800


class Section(NamedTuple):
    """`offset` and `size` lie inside the file unless `type` is SHT_NOBITS."""

    number: int
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    entry_size: int


class Symbol(NamedTuple):
    """`section` is an index of a section, or a reserved number (SHN_UNDEF, SHN_ABS …)."""

    name: str
    type: int
    bind: int
    section: int
    value: int
    size: int


class Relocation(NamedTuple):
    offset: int
    symbol: int
    type: int


class Elf(NamedTuple):
    data: bytes
    sections: Sequence[Section]
    symbols: Sequence[Symbol]

    def content(self, section: Section) -> bytes:
        """The section's bytes, b"" for one that has none in the file (.bss)."""
        if section.type == SHT_NOBITS:
            return b""
        return self.data[section.offset : section.offset + section.size]

    def section(self, name: str) -> Section | None:
        return next((section for section in self.sections if section.name == name), None)

    def relocations(self, section: Section) -> list[Relocation]:
        """Of a SHT_REL section."""
        return [
            Relocation(offset, info >> 32, info & 0xFFFFFFFF)
            for offset, info in _RELOCATION.iter_unpack(self.content(section))
        ]


def read_elf(data: bytes) -> Elf:
    """Sections and symbols of a BPF object. Raises BpfError: not ELF, another machine's, cut off,
    or inconsistent."""
    sections_at, count, names_index = _read_header(data)
    table_end = sections_at + count * _SECTION.size
    if table_end > len(data):
        raise BpfError(
            f"truncated: section headers end at {table_end:#x}, file has {len(data):#x} bytes"
        )
    headers = [
        _SECTION.unpack_from(data, sections_at + index * _SECTION.size) for index in range(count)
    ]
    if names_index >= count:
        raise BpfError(f"section names are in section {names_index}, of {count} in all")
    for index, header in enumerate(headers):
        _check_section(index, header, headers, len(data))
    names = _strings(data, headers[names_index], "section names")
    sections = [
        Section(
            number=index,
            name=_string(names, header[0], f"name of section {index}"),
            type=header[1],
            flags=header[2],
            offset=header[4],
            size=header[5],
            link=header[6],
            info=header[7],
            entry_size=header[9],
        )
        for index, header in enumerate(headers)
    ]
    return Elf(data, sections, _read_symbols(data, headers, count))


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Where the section headers are, how many, and which one holds the names."""
    if data[:4] != b"\x7fELF":
        raise BpfError("not an ELF file, want what clang -target bpf -c writes")
    if len(data) < _HEADER.size:
        raise BpfError(f"truncated: {len(data)} bytes, an ELF header alone has {_HEADER.size}")
    order = 1 if sys.byteorder == "little" else 2
    if data[4] != 2:
        raise BpfError("32-bit ELF, want 64-bit: compile it with clang -target bpf")
    if data[5] != order:
        raise BpfError(f"other byte order, want {sys.byteorder}-endian: compile it on this machine")
    fields = _HEADER.unpack_from(data)
    kind, machine, version, sections_at = fields[1], fields[2], fields[3], fields[6]
    header_size, segments, entry_size, count, names_index = (fields[i] for i in (8, 10, 11, 12, 13))
    if machine != _EM_BPF:
        name = _MACHINES.get(machine, f"machine {machine}")
        raise BpfError(f"compiled for {name}, want BPF: compile it with clang -target bpf")
    if kind != _ET_REL:
        found = _KINDS.get(kind, f"ELF type {kind}")
        raise BpfError(f"{found}, want a relocatable object: compile it with clang -c")
    if data[6] != 1 or version != 1 or header_size != _HEADER.size or segments:
        raise BpfError("malformed ELF header: recompile it")
    if entry_size != _SECTION.size or not 0 < count < SHN_LORESERVE or sections_at % 8:
        raise BpfError(f"malformed ELF header: {count} section headers of {entry_size} bytes")
    return sections_at, count, names_index


_Header = tuple[int, ...]


def _check_section(index: int, header: _Header, headers: Sequence[_Header], length: int) -> None:
    _, kind, flags, _, offset, size, link, info, alignment, entry_size = header
    if kind == SHT_NULL:
        return
    if kind != SHT_NOBITS and offset + size > length:
        raise BpfError(
            f"truncated: section {index} ends at {offset + size:#x}, file has {length:#x} bytes"
        )
    if flags & _SHF_COMPRESSED:
        raise BpfError(f"section {index} is compressed, which BPF loaders do not read")
    if alignment & (alignment - 1) or (alignment and kind != SHT_NOBITS and offset % alignment):
        raise BpfError(f"section {index} is misaligned: at {offset:#x}, alignment {alignment}")
    if kind in (SHT_SYMTAB, SHT_REL, SHT_RELA):
        want = {SHT_SYMTAB: _SYMBOL.size, SHT_REL: _RELOCATION.size, SHT_RELA: 24}[kind]
        if entry_size != want or size % want:
            raise BpfError(
                f"section {index}: {size} bytes in entries of {entry_size}, want entries of {want}"
            )
        linked = SHT_STRTAB if kind == SHT_SYMTAB else SHT_SYMTAB
        if link >= len(headers) or headers[link][1] != linked:
            raise BpfError(f"section {index} links to section {link}, which is of another kind")
        if kind != SHT_SYMTAB and not 0 < info < len(headers):
            raise BpfError(f"section {index} relocates section {info}, of {len(headers)} in all")


def _read_symbols(data: bytes, headers: Sequence[_Header], count: int) -> list[Symbol]:
    tables = [header for header in headers if header[1] == SHT_SYMTAB]
    if len(tables) != 1:
        raise BpfError(f"{len(tables)} symbol tables, want one")
    _, _, _, _, offset, size, link, info, _, _ = tables[0]
    if info > size // _SYMBOL.size:
        raise BpfError(f"symbol table says {info} local symbols, has {size // _SYMBOL.size} in all")
    names = _strings(data, headers[link], "symbol names")
    symbols = []
    for number, fields in enumerate(_SYMBOL.iter_unpack(data[offset : offset + size])):
        name_at, kinds, _, section, value, length = fields
        what = f"symbol {number}"
        name = _string(names, name_at, f"name of {what}")
        if SHN_UNDEF < section < SHN_LORESERVE:
            if section >= count:
                raise BpfError(f"{what} ({name!r}) is in section {section}, of {count} in all")
            if value + length > headers[section][5]:
                raise BpfError(
                    f"{what} ({name!r}) ends at {value + length:#x}, "
                    f"section {section} at {headers[section][5]:#x}"
                )
        symbols.append(Symbol(name, kinds & 15, kinds >> 4, section, value, length))
    return symbols


def _strings(data: bytes, header: _Header, what: str) -> bytes:
    strings = data[header[4] : header[4] + header[5]]
    if header[1] != SHT_STRTAB or not strings or strings[0] or strings[-1]:
        raise BpfError(f"{what}: not a string table")
    return strings


def _string(strings: bytes, offset: int, what: str) -> str:
    end = strings.find(b"\0", offset)
    if offset >= len(strings) or end < 0:
        raise BpfError(f"{what} is at {offset:#x}, its string table ends at {len(strings):#x}")
    return strings[offset:end].decode("utf-8", "replace")
