"""cachestat against reads, writes and faults, page by page."""

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.ebpf.loaded import KernelProgram
from tests.kernel.conftest import Load, counts, shipped_program
from tests.kernel.quiet import least
from tests.kernel.workloads import LoopDisk, loop_disk

pytestmark = pytest.mark.bpf

# as cachestat.yaml names them
ADDED, ACCESSED, DIRTIED, BUFFER_DIRTIED, REMOVED, GET_PAGES, MAP_PAGES, FAULT = range(8)
PAGE = mmap.PAGESIZE
PAGES = 64  # a round's
AROUND = 16 * PAGE  # what is mapped around a fault: fault_around_bytes, 64 KiB, by default


class LargeFile:
    """A file of which each round uses another part. Read page by page, nothing is read ahead."""

    def __init__(self, path: Path, rounds: int = 40) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)
        for _ in range(rounds):
            os.write(self.fd, bytes(PAGES * PAGE))
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_RANDOM)
        self.forget()
        self._next = 0

    def forget(self) -> None:
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def part(self) -> list[int]:
        """Offsets of pages that no round has used yet."""
        start = self._next
        self._next += PAGES * PAGE
        return list(range(start, self._next, PAGE))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LargeFile]:
    made = LargeFile(tmp_path / "large")
    yield made
    os.close(made.fd)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    with loop_disk(tmp_path) as made:
        yield made


def operations(running: KernelProgram) -> dict[int, int]:
    found = counts(running, "page_cache_ops_total")
    return {struct.unpack("=I", key)[0]: value for key, value in found.items()}


def test_pages_read_for_the_first_time_are_added_and_again_only_asked_for(
    shipped: Path, loaded: Load, file: LargeFile
) -> None:
    running = loaded(shipped_program(shipped, "cachestat"))

    def read(offsets: list[int]) -> None:
        for offset in offsets:
            os.pread(file.fd, PAGE, offset)

    part = file.part()
    first = least(lambda: operations(running), lambda: read(file.part()))
    again = least(lambda: operations(running), lambda: read(part))
    assert first[ADDED] == PAGES
    assert again[ADDED] == 0
    assert again[GET_PAGES] == PAGES
    assert first.get(DIRTIED, 0) == again.get(DIRTIED, 0) == 0


def test_pages_dropped_from_the_cache_are_removed(
    shipped: Path, loaded: Load, file: LargeFile
) -> None:
    running = loaded(shipped_program(shipped, "cachestat"))

    def read_and_drop() -> None:
        for offset in file.part():
            os.pread(file.fd, PAGE, offset)
        os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    assert least(lambda: operations(running), read_and_drop)[REMOVED] == PAGES


def test_pages_written_are_dirtied_once_until_they_are_written_back(
    shipped: Path, loaded: Load, disk: LoopDisk
) -> None:
    running = loaded(shipped_program(shipped, "cachestat"))
    device = os.open(disk.device, os.O_RDWR)
    os.posix_fadvise(device, 0, 0, os.POSIX_FADV_RANDOM)

    def write() -> None:
        for offset in range(0, PAGES * PAGE, PAGE):
            os.pwrite(device, bytes(PAGE), offset)

    clean = least(lambda: operations(running), write, prepare=lambda: os.fsync(device))
    dirty = least(lambda: operations(running), write)
    os.close(device)
    assert clean[DIRTIED] == PAGES
    assert clean[BUFFER_DIRTIED] == PAGES
    assert dirty[DIRTIED] == 0


def test_first_touches_of_a_mapped_file_are_mapped_or_faulted(
    shipped: Path, loaded: Load, file: LargeFile
) -> None:
    running = loaded(shipped_program(shipped, "cachestat"))
    size = 40 * PAGES * PAGE

    def touch(memory: mmap.mmap) -> None:
        for offset in range(0, size, AROUND):
            assert memory[offset] == 0

    def touch_all() -> None:
        with mmap.mmap(file.fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            memory.madvise(mmap.MADV_RANDOM)
            touch(memory)

    def touch_cold() -> None:
        file.forget()
        touch_all()

    cold = least(lambda: operations(running), touch_cold, rounds=5)
    for offset in range(0, size, PAGE):
        os.pread(file.fd, PAGE, offset)
    warm = least(lambda: operations(running), touch_all, rounds=5)
    assert cold[FAULT] == size // AROUND
    assert warm[MAP_PAGES] == size // AROUND
    assert warm[FAULT] == 0


def test_what_this_kernel_cannot_tell_is_missing_and_said(shipped: Path, loaded: Load) -> None:
    running = loaded(shipped_program(shipped, "cachestat"))
    hooks = {hook.name: hook for hook in running.hooks}
    assert hooks["pages added"].taken == ("raw_tp/mm_filemap_add_to_page_cache",)
    untold = hooks["pages accessed"].taken is None
    assert any("pages accessed" in problem for problem in running.problems) == untold
    assert not (untold and ACCESSED in operations(running))
