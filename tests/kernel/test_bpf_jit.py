"""bpf-jit against what bpf(2) tells of every program, one by one."""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.ebpf.libbpf import Libbpf, LibbpfError
from exporter.ebpf.loaded import KernelProgram
from tests.kernel.conftest import Load, counts, shipped_program
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

_U32 = ctypes.c_uint32
# struct bpf_prog_info (include/uapi/linux/bpf.h): bytes from its start
JITED_PROG_LEN, NR_JITED_FUNC_LENS = 16, 108
INFO_BYTES = 232
# what may be allocated besides the code: header, alignment, and a table of exceptions
MOST_AROUND_A_FUNCTION = 512


class Compiled(NamedTuple):
    """`bytes` of code, in so many functions."""

    id: int
    bytes: int
    functions: int


def programs(lib: Libbpf) -> Iterator[Compiled]:
    """Every compiled program that has an id."""
    number = _U32(0)
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    while library.bpf_prog_get_next_id(number, ctypes.byref(number)) == 0:
        fd = library.bpf_prog_get_fd_by_id(number)
        if fd < 0:
            continue  # gone meanwhile
        info, size = ctypes.create_string_buffer(INFO_BYTES), _U32(INFO_BYTES)
        try:
            lib.call("bpf_obj_get_info_by_fd", fd, info, ctypes.byref(size))
        except LibbpfError as error:
            assert error.errno == errno.ENOENT
            continue
        finally:
            os.close(fd)

        def word(at: int, info: ctypes.Array[ctypes.c_char] = info) -> int:
            return int.from_bytes(info.raw[at : at + 4], "little")

        if word(JITED_PROG_LEN):
            yield Compiled(number.value, word(JITED_PROG_LEN), max(1, word(NR_JITED_FUNC_LENS)))


def seen(running: KernelProgram) -> tuple[int, int]:
    only = bytes(4)
    how_many = counts(running, "bpf_jit_programs")[only]
    return how_many, counts(running, "bpf_jit_pages_currently_allocated")[only]


def test_bpf_jit_agrees_with_a_walk_from_user_space(
    shipped: Path, loaded: Load, lib: Libbpf
) -> None:
    running = loaded(shipped_program(shipped, "bpf-jit"))
    others = [loaded(shipped_program(shipped, name)) for name in ("syscalls", "softirq-latency")]

    def agrees() -> bool:
        """Others may load and free programs between any two looks: then once more."""
        walked = list(programs(lib))
        how_many, pages = seen(running)
        if walked != list(programs(lib)):
            return False
        code = sum(each.bytes for each in walked)
        functions = sum(each.functions for each in walked)
        most = code + functions * MOST_AROUND_A_FUNCTION
        looks.append((how_many, len(walked), code, pages * mmap.PAGESIZE, most))
        return how_many == len(walked) and code <= pages * mmap.PAGESIZE < most + mmap.PAGESIZE

    looks: list[tuple[int, ...]] = []
    assert eventually(agrees, 60), looks[-3:]
    assert all(other.functions() for other in others)


def test_a_program_that_comes_and_goes_does_so_in_the_next_read(
    shipped: Path, loaded: Load, lib: Libbpf
) -> None:
    running = loaded(shipped_program(shipped, "bpf-jit"))
    ids: set[int] = set()

    def agrees() -> bool:
        """With a walk at a moment when nobody else loads or frees programs."""
        ids.clear()
        ids.update(each.id for each in programs(lib))
        counted = counts(running, "bpf_jit_programs")[bytes(4)]
        return ids == {each.id for each in programs(lib)} and counted == len(ids)

    other = loaded(shipped_program(shipped, "syscalls"))
    own = {function.id for function in other.functions()}
    assert eventually(agrees, 60)
    assert own <= ids
    other.close()
    assert eventually(lambda: agrees() and ids.isdisjoint(own), 60)


def test_each_read_is_a_snapshot_of_its_own(shipped: Path, loaded: Load) -> None:
    running = loaded(shipped_program(shipped, "bpf-jit"))
    first = [running.maps[name].read() for name in running.maps]
    second = [running.maps[name].read() for name in running.maps]
    assert [rows.count for rows in first] == [rows.count for rows in second] == [1, 1]
