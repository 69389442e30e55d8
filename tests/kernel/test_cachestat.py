"""cachestat against reads, writes and faults, page by page, and against perf's own counters."""

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.ebpf.loaded import KernelProgram
from tests.kernel.conftest import Load, counts, shipped_program
from tests.kernel.perf_counts import Tallies, tallies
from tests.kernel.workloads import LoopDisk, eventually, loop_disk

pytestmark = pytest.mark.bpf

# as cachestat.yaml names them
ADDED, ACCESSED, DIRTIED, BUFFER_DIRTIED, REMOVED, GET_PAGES, MAP_PAGES, FAULT = range(8)
PAGE = mmap.PAGESIZE
PAGES = 64  # a part's
PARTS = 40  # parts of a file
AROUND = 16 * PAGE  # what is mapped around a fault: fault_around_bytes, 64 KiB, by default


class LargeFile:
    """A file to be used part by part. Read page by page, nothing is read ahead."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)
        for _ in range(PARTS):
            os.write(self.fd, bytes(PAGES * PAGE))
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_RANDOM)
        self.forget()
        self._next = 0

    def forget(self) -> None:
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def part(self) -> list[int]:
        """Offsets of pages that were not used yet."""
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


EVENTS = {
    ADDED: "filemap/mm_filemap_add_to_page_cache",
    REMOVED: "filemap/mm_filemap_delete_from_page_cache",
    DIRTIED: "writeback/writeback_dirty_folio",
    BUFFER_DIRTIED: "block/block_dirty_buffer",
    GET_PAGES: "filemap/mm_filemap_get_pages",
    MAP_PAGES: "filemap/mm_filemap_map_pages",
    FAULT: "filemap/mm_filemap_fault",
}


def operations(running: KernelProgram) -> dict[int, int]:
    found = counts(running, "page_cache_ops_total")
    return {struct.unpack("=I", key)[0]: value for key, value in found.items()}


class Watched:
    """`during(work)`: how often this thread did each operation by perf's account. The program,
    which counts the whole machine, must have counted as many, and no more than everybody did."""

    def __init__(self, running: KernelProgram, tallies: Tallies) -> None:
        self._running, self._tallies = running, tallies

    def during(self, work: Callable[[], object]) -> dict[int, int]:
        everyones_before = self._tallies.everyones()
        before = operations(self._running)
        own_before = self._tallies.own()
        work()
        own = {name: now - own_before[name] for name, now in self._tallies.own().items()}
        after = operations(self._running)
        everyones = self._tallies.everyones()
        for operation, event in EVENTS.items():
            counted = after.get(operation, 0) - before.get(operation, 0)
            assert own[event] <= counted <= everyones[event] - everyones_before[event], event
        return {operation: own[event] for operation, event in EVENTS.items()}


@pytest.fixture
def watched(shipped: Path, loaded: Load, tmp_path: Path) -> Iterator[Watched]:
    running = loaded(shipped_program(shipped, "cachestat"))
    with tallies(tmp_path / "tracing", list(EVENTS.values())) as counters:
        yield Watched(running, counters)


def test_pages_read_for_the_first_time_are_added_and_again_only_asked_for(
    watched: Watched, file: LargeFile
) -> None:
    def read() -> None:
        for offset in part:
            os.pread(file.fd, PAGE, offset)

    part = file.part()
    first = watched.during(read)
    again = watched.during(read)
    assert first[ADDED] == PAGES
    assert again[ADDED] == 0
    assert again[GET_PAGES] == PAGES
    assert first[DIRTIED] == again[DIRTIED] == 0


def test_pages_dropped_from_the_cache_are_removed(watched: Watched, file: LargeFile) -> None:
    for offset in file.part():
        os.pread(file.fd, PAGE, offset)

    def drop() -> None:
        os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    assert watched.during(drop)[REMOVED] == PAGES


def test_pages_written_are_dirtied_once_until_they_are_written_back(
    watched: Watched, disk: LoopDisk
) -> None:
    device = os.open(disk.device, os.O_RDWR)
    os.posix_fadvise(device, 0, 0, os.POSIX_FADV_RANDOM)

    def write() -> None:
        for offset in range(0, PAGES * PAGE, PAGE):
            os.pwrite(device, bytes(PAGE), offset)

    def written_back() -> bool:
        """What the kernel writes back meanwhile, on its own, becomes dirty once more."""
        os.fsync(device)
        clean, dirty = watched.during(write), watched.during(write)
        return (clean[DIRTIED], clean[BUFFER_DIRTIED], dirty[DIRTIED]) == (PAGES, PAGES, 0)

    assert eventually(written_back)
    os.close(device)


def test_first_touches_of_a_mapped_file_are_mapped_or_faulted(
    watched: Watched, file: LargeFile
) -> None:
    size = PARTS * PAGES * PAGE

    def touch() -> None:
        with mmap.mmap(file.fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            memory.madvise(mmap.MADV_RANDOM)
            for offset in range(0, size, AROUND):
                assert memory[offset] == 0

    file.forget()
    cold = watched.during(touch)
    for offset in range(0, size, PAGE):
        os.pread(file.fd, PAGE, offset)
    warm = watched.during(touch)
    # This thread's own code and libraries may be looked up in the page cache too.
    assert size // AROUND <= cold[FAULT] <= size // AROUND + 10
    assert size // AROUND <= warm[MAP_PAGES] <= size // AROUND + 10
    assert warm[FAULT] <= 10


def test_what_this_kernel_cannot_tell_is_missing_and_said(shipped: Path, loaded: Load) -> None:
    running = loaded(shipped_program(shipped, "cachestat"))
    hooks = {hook.name: hook for hook in running.hooks}
    assert hooks["pages added"].taken == ("raw_tp/mm_filemap_add_to_page_cache",)
    untold = hooks["pages accessed"].taken is None
    assert any("pages accessed" in problem for problem in running.problems) == untold
    assert not (untold and ACCESSED in operations(running))
