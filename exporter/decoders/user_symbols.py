"""Functions of user-space code by process and address, from the ELF files that a process maps.

Files are read when first needed, through /proc/<pid>/root as the process sees them, and kept
compactly up to a budget of memory. Any bytes in them give fewer names, never an error.
"""

import os
import struct
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from exporter.hostfs import HostFs

_MOST_KEPT = 16 << 20  # bytes, of all files
_MOST_BYTES = 1 << 30  # a larger file is not looked into
_MOST_SYMBOLS = 1 << 20
_HEADER = struct.Struct("=16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("=IIQQQQQQ")
_SECTION = struct.Struct("=IIQQQQIIQQ")
_SYMBOL = struct.Struct("=IBBHQQ")
_PT_LOAD, _SHT_SYMTAB, _SHT_DYNSYM, _STT_FUNC, _STT_GNU_IFUNC = 1, 2, 11, 2, 10


class Place(NamedTuple):
    """Where an address is: `file` as the process calls it ("/usr/lib/…"), `offset` in that file.
    `name` is the function's, None where the file does not say."""

    file: str
    offset: int
    name: str | None


class _Mapping(NamedTuple):
    start: int
    end: int
    offset: int
    path: str


class _Functions(NamedTuple):
    """`starts` ascend; names end with a NUL. `segments` are offset, address, bytes in the file."""

    starts: "array[int]"
    sizes: "array[int]"
    names_at: "array[int]"
    names: bytes
    segments: tuple[tuple[int, int, int], ...]

    def name(self, offset: int) -> str | None:
        for begins, address, length in self.segments:
            if begins <= offset < begins + length:
                return self._at(offset - begins + address)
        return None

    def _at(self, address: int) -> str | None:
        found = bisect_right(self.starts, address) - 1
        if found < 0 or address - self.starts[found] >= max(1, self.sizes[found]):
            return None
        at = self.names_at[found]
        return self.names[at : self.names.index(b"\0", at)].decode(errors="replace")

    @property
    def bytes(self) -> int:
        arrays = (self.starts, self.sizes, self.names_at)
        return len(self.names) + sum(len(each) * each.itemsize for each in arrays)


_NONE = _Functions(array("Q"), array("Q"), array("I"), b"", ())


class UserSymbols:
    def __init__(self, fs: HostFs) -> None:
        self._proc = fs.proc
        self._files: OrderedDict[tuple[int, int, int], _Functions] = OrderedDict()

    def place(self, process: int, address: int) -> Place | None:
        """None where the process is gone, or maps no file there."""
        for mapping in self._mappings(process):
            if mapping.start <= address < mapping.end:
                offset = address - mapping.start + mapping.offset
                name = self._functions(process, mapping).name(offset)
                return Place(mapping.path.removesuffix(" (deleted)"), offset, name)
        return None

    def _mappings(self, process: int) -> Iterator[_Mapping]:
        """proc(5): address range, permissions, offset, device, inode, path."""
        try:
            text = (self._proc / str(process) / "maps").read_text(errors="surrogateescape")
        except OSError:
            return
        for line in text.splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[5].startswith("/"):
                start, _, end = fields[0].partition("-")
                yield _Mapping(int(start, 16), int(end, 16), int(fields[2], 16), fields[5])

    def _functions(self, process: int, mapping: _Mapping) -> _Functions:
        of_process = self._proc / str(process)
        # the mapped file itself, also where it is deleted; else by its name there
        exact = of_process / "map_files" / f"{mapping.start:x}-{mapping.end:x}"
        for path in (exact, of_process / "root" / mapping.path.lstrip("/")):
            try:
                state = path.stat()
                key = (state.st_dev, state.st_ino, state.st_mtime_ns)
                if key not in self._files:
                    self._keep(key, _read(path) if state.st_size <= _MOST_BYTES else _NONE)
            except OSError:
                continue
            self._files.move_to_end(key)
            return self._files[key]
        return _NONE

    def _keep(self, key: tuple[int, int, int], functions: _Functions) -> None:
        self._files[key] = functions
        kept = sum(each.bytes for each in self._files.values())
        while kept > _MOST_KEPT and len(self._files) > 1:
            _, oldest = self._files.popitem(last=False)
            kept -= oldest.bytes


def _read(path: Path) -> _Functions:
    try:
        with path.open("rb") as file:
            return _parse(file.fileno())
    except (struct.error, ValueError, OverflowError):  # cut off, or no such ELF
        return _NONE


def _parse(fd: int) -> _Functions:
    header = _HEADER.unpack(os.pread(fd, _HEADER.size, 0))
    if header[0][:6] != b"\x7fELF\x02\x01":
        return _NONE
    segments_at, sections_at, segment_count, section_count = (header[i] for i in (5, 6, 10, 12))
    segments = [
        (segment[2], segment[3], segment[5])
        for segment in _table(fd, _SEGMENT, segments_at, segment_count)
        if segment[0] == _PT_LOAD
    ]
    sections = list(_table(fd, _SECTION, sections_at, section_count))
    # the full table where the file was not stripped
    for kind in (_SHT_SYMTAB, _SHT_DYNSYM):
        for section in sections:
            if section[1] == kind and section[5] >= 2 * _SYMBOL.size:
                names = sections[section[6]] if section[6] < len(sections) else None
                if names is not None:
                    return _functions_of(fd, section, names, tuple(segments))
    return _NONE


def _table(fd: int, entry: struct.Struct, at: int, count: int) -> Iterator[tuple[int, ...]]:
    content = os.pread(fd, entry.size * count, at)
    return entry.iter_unpack(content[: len(content) // entry.size * entry.size])


def _functions_of(
    fd: int,
    section: tuple[int, ...],
    names: tuple[int, ...],
    segments: tuple[tuple[int, int, int], ...],
) -> _Functions:
    text = os.pread(fd, names[5], names[4]) + b"\0"
    symbols = _table(fd, _SYMBOL, section[4], min(section[5] // _SYMBOL.size, _MOST_SYMBOLS))
    found: dict[int, tuple[int, int]] = {}  # of several names for one address the plainest
    for name_at, kinds, _, where, start, size in symbols:
        if kinds & 15 not in (_STT_FUNC, _STT_GNU_IFUNC) or not where or name_at >= len(text):
            continue
        before = found.get(start)
        if before is None or _plainness(text, name_at) < _plainness(text, before[1]):
            found[start] = size, name_at
    starts, sizes, names_at = array("Q", sorted(found)), array("Q"), array("I")
    kept = bytearray()
    for start in starts:
        size, at = found[start]
        sizes.append(size)
        names_at.append(len(kept))
        kept += text[at : text.index(b"\0", at) + 1]
    return _Functions(starts, sizes, names_at, bytes(kept), segments)


def _plainness(text: bytes, at: int) -> tuple[bool, int, bytes]:
    name = text[at : text.index(b"\0", at)]
    return name.startswith(b"_"), len(name), name
