"""The store's file, byte by byte: what is where, and what is believed.

    header    one page, written once: magic, version, shape, checksum
    directory twice, written in turns: which series has which column, since when; boot; checksum
    rows      a ring, one row per tick: exact elapsed seconds, wall clock, float32 per column

Pure: packs and reads buffers; opens nothing. Numbers are little-endian; float32 and elapsed lie
aligned, so that a column is one strided slice of the mapping.
"""

import struct
from typing import NamedTuple
from zlib import crc32

import msgspec

VERSION = 1
PAGE = 4096
ROW_HEAD = struct.Struct("<ddII")  # elapsed, wall, directory's generation, checksum of the row
LONGEST_SECONDS = 1e11  # of anything: the year 5138
EMPTY_ELAPSED = 0.0  # of rows never written: a file begins as zeros
_MAGIC = b"kernmesh usage\r\n"  # CR LF: a copy made as text is noticed
_HEADER = struct.Struct("<16sIIIId")
_PART = struct.Struct("<III")  # a directory's generation, length, checksum
_CRC = struct.Struct("<I")
_MOST_GENERATIONS = 1 << 31  # one a second for 68 years, and room for as many in 32 bits
_CHECKED_HEAD = struct.Struct("<ddI")


class Refused(Exception):
    """A file that is not trusted; the text says why."""


class Shape(NamedTuple):
    """A file's measures. `columns` is even, which keeps elapsed aligned to 8 bytes; `directory`
    is the room for each of the two directories, whole pages. `interval` is the tier's period in
    seconds, by which a file of another configuration is known."""

    interval: float
    rows: int
    columns: int
    directory: int

    @property
    def pitch(self) -> int:
        """Bytes per row."""
        return ROW_HEAD.size + 4 * self.columns

    @property
    def first_row(self) -> int:
        return PAGE + 2 * self.directory

    @property
    def size(self) -> int:
        return self.first_row + self.rows * self.pitch


class Column(msgspec.Struct, frozen=True, array_like=True):
    """Rows before `since` (elapsed) belong to whoever had the column before."""

    measure: str
    kind: str
    column: int
    since: float


class Directory(msgspec.Struct, frozen=True):
    """`boot` and `epoch`: elapsed = monotonic − epoch while this boot lasts. `things` are columns
    by what stands before the last dot of the series' name, written once and not per series."""

    boot: str
    epoch: float
    things: dict[str, list[Column]]


def pack_header(shape: Shape) -> bytes:
    """A whole page."""
    body = _HEADER.pack(_MAGIC, VERSION, shape.rows, shape.columns, shape.directory, shape.interval)
    return (body + _CRC.pack(crc32(body))).ljust(PAGE, b"\0")


def read_header(data: bytes, size: int) -> Shape:
    """From a file's beginning and its size. Raises Refused."""
    if len(data) < _HEADER.size + _CRC.size or not data.startswith(_MAGIC):
        raise Refused("not a file of kernmesh's")
    _, version, rows, columns, directory, interval = _HEADER.unpack_from(data)
    if version != VERSION:
        raise Refused(f"version {version} of the format, want {VERSION}")
    if _CRC.unpack_from(data, _HEADER.size)[0] != crc32(data[: _HEADER.size]):
        raise Refused("the header's checksum is wrong")
    shape = Shape(interval, rows, columns, directory)
    if columns % 2 or directory % PAGE or rows < 1 or not 0 < interval < LONGEST_SECONDS:
        raise Refused("the header makes no sense")
    if size != shape.size:
        raise Refused(f"{size} bytes long, want {shape.size}")
    return shape


def pack_directory(directory: Directory, generation: int) -> bytes:
    body = msgspec.msgpack.encode(directory)
    return _PART.pack(generation, len(body), crc32(body, generation)) + body


def directory_room(columns: int) -> int:
    """Bytes to set aside for a directory of so many columns: series of pods have long names, but
    a dozen of them share one."""
    return (columns * 80 + 2 * PAGE) // PAGE * PAGE


def read_directories(data: memoryview, shape: Shape) -> tuple[int, Directory]:
    """The newest whole one and its generation. Whoever is killed while writing one leaves the
    other, which is the last before it. Raises Refused where neither is whole."""
    found: list[tuple[int, Directory]] = []
    for start in (PAGE, PAGE + shape.directory):
        generation, length, check = _PART.unpack_from(data, start)
        body = data[start + _PART.size : start + _PART.size + length]
        if length == 0 or length > shape.directory or crc32(body, generation) != check:
            continue
        if generation > _MOST_GENERATIONS:
            continue
        try:
            decoded = msgspec.msgpack.decode(body, type=Directory)
        except (ValueError, RecursionError):
            continue
        if abs(decoded.epoch) < LONGEST_SECONDS:
            found.append((generation, decoded))
    if not found:
        raise Refused("no directory of series in it is whole")
    return max(found, key=lambda each: each[0])


def row_checksum(elapsed: float, wall: float, generation: int, values: bytes | memoryview) -> int:
    return crc32(values, crc32(_CHECKED_HEAD.pack(elapsed, wall, generation)))


class RowHead(NamedTuple):
    elapsed: float
    wall: float


def read_row(data: memoryview, shape: Shape, slot: int, generation: int) -> RowHead | None:
    """None for a row never written. Raises Refused where it is torn, or newer than the directory
    that is known (`generation`): its columns would be another's."""
    start = shape.first_row + slot * shape.pitch
    elapsed, wall, made_with, check = ROW_HEAD.unpack_from(data, start)
    if elapsed == EMPTY_ELAPSED and check == 0:
        return None
    values = data[start + ROW_HEAD.size : start + shape.pitch]
    if made_with > generation or row_checksum(elapsed, wall, made_with, values) != check:
        raise Refused("torn row")
    if not (0 < elapsed < LONGEST_SECONDS and 0 <= wall < LONGEST_SECONDS):
        raise Refused("row of no time")  # no later one could come after it
    return RowHead(elapsed, wall)
