"""The memory under a store: a mapped file, or anonymous where there is none.

Room on disk is taken before a byte is mapped, since a write to a mapping for which the disk has
no block ends the process (SIGBUS). A new file takes its place by a rename, whole.
"""

import contextlib
import mmap
import os
from pathlib import Path

from exporter.usage import layout
from exporter.usage.layout import Shape
from exporter.wholefile import beside

MODE = 0o600


class Backing:
    """`path` None: memory only. `data` is the whole of it."""

    def __init__(self, mapping: mmap.mmap, shape: Shape, path: Path | None) -> None:
        self._mapping = mapping
        self.shape, self.path = shape, path
        self.data = memoryview(mapping)
        rows = self.data[shape.first_row :]
        self._doubles = rows.cast("d")
        self._floats = rows.cast("f")
        self.elapsed = self._doubles[:: shape.pitch // 8]
        """Of every slot; 0.0 where none was written."""

    def column(self, column: int) -> "memoryview[float]":
        """Of every slot. Release it when done."""
        step = self.shape.pitch // 4
        return self._floats[layout.ROW_HEAD.size // 4 + column :: step]

    def write_row(
        self, slot: int, elapsed: float, wall: float, generation: int, values: memoryview
    ) -> None:
        """The values before their head, so that whoever is killed in between leaves the head of a
        row before this one, or none; its checksum then is wrong, which says so."""
        start = self.shape.first_row + slot * self.shape.pitch
        check = layout.row_checksum(elapsed, wall, generation, values)
        self.data[start + layout.ROW_HEAD.size : start + self.shape.pitch] = values
        layout.ROW_HEAD.pack_into(self.data, start, elapsed, wall, generation, check)

    def values(self, slot: int) -> memoryview:
        """All columns of a row, as bytes."""
        start = self.shape.first_row + slot * self.shape.pitch
        return self.data[start + layout.ROW_HEAD.size : start + self.shape.pitch]

    def write_directory(self, packed: bytes, generation: int) -> bool:
        """Over the older one of the two; False where it has no room."""
        if len(packed) > self.shape.directory:
            return False
        start = layout.PAGE + generation % 2 * self.shape.directory
        self.data[start : start + len(packed)] = packed
        return True

    def forget_pages(self) -> None:
        """Lets go of the mapping's resident pages; what is in them stays in the file. Nothing to
        do in memory, where they are all there is."""
        if self.path is not None:
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        for view in (self.elapsed, self._floats, self._doubles, self.data):
            view.release()
        with contextlib.suppress(BufferError):  # a reader still holds a column: it goes with it
            self._mapping.close()


def in_memory(shape: Shape) -> Backing:
    return Backing(mmap.mmap(-1, shape.size), shape, None)


def create(path: Path, shape: Shape) -> Backing:
    """A new empty file under a temporary name; `put_in_place` once it holds what it shall hold.
    Raises OSError, also where the disk has no room for all of it."""
    new = beside(path)
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, MODE)
    try:
        os.posix_fallocate(descriptor, 0, shape.size)
        mapping = mmap.mmap(descriptor, shape.size)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    backing = Backing(mapping, shape, path)
    backing.data[: layout.PAGE] = layout.pack_header(shape)
    return backing


def put_in_place(path: Path) -> None:
    beside(path).replace(path)


def open_existing(path: Path, writable: bool = True) -> Backing:
    """Raises FileNotFoundError where there is none, Refused where it is not to be trusted, other
    OSErrors where it cannot be read."""
    flags = os.O_RDWR if writable else os.O_RDONLY
    descriptor = os.open(path, flags | os.O_NOFOLLOW)
    try:
        size = os.fstat(descriptor).st_size
        shape = layout.read_header(os.pread(descriptor, layout.PAGE, 0), size)
        if writable:
            os.posix_fallocate(descriptor, 0, size)  # a copy may have holes
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return Backing(mmap.mmap(descriptor, size, access=access), shape, path)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Renamed to <name>.bad, over an older one: one is enough to look into, and no more fill the
    disk."""
    bad = path.with_name(path.name + ".bad")
    path.replace(bad)
    return bad
