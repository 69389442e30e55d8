"""Memory is given back, and what was kept from collection once is looked at again."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from exporter.ebpf.backends import LITTLE_BYTES, at_once
from exporter.ebpf.kernel import Options
from exporter.memory import give_back, limit_bytes
from exporter.testing import fake_host


class Knot:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_alive_when_memory_was_given_back_is_still_collected_when_it_is_garbage() -> None:
    knot = Knot()
    seen = weakref.ref(knot)
    give_back()
    del knot
    gc.collect()
    assert seen() is not None  # it was taken out of collections
    give_back()
    assert seen() is None


def test_threads_share_one_heap() -> None:
    """glibc tells of each of its heaps in malloc_info(3)."""
    code = """
import ctypes, os, sys, threading
from exporter.memory import one_heap
if sys.argv[1] == "one":
    one_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fdopen.restype = ctypes.c_void_p
barrier = threading.Barrier(4)
def take():
    libc.malloc(100_000)
    barrier.wait()
threads = [threading.Thread(target=take) for _ in range(4)]
for each in threads: each.start()
for each in threads: each.join()
out = libc.fdopen(1, b"w")
libc.malloc_info(0, ctypes.c_void_p(out))
libc.fflush(ctypes.c_void_p(out))
"""
    counts = {}
    for how in ("one", "many"):
        done = subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True)
        counts[how] = done.stdout.count("<heap ")
    assert counts["one"] == 1 < counts["many"]


V1, V2 = "4:memory:/box\n0::/box\n", "0::/box\n"


@pytest.mark.parametrize(
    ("cgroups", "files", "want"),
    [
        (V2, {"box/memory.max": "100663296\n"}, 100663296),
        (V2, {"box/memory.max": "max\n"}, None),
        (V2, {}, None),
        ("0::/\n", {"memory.max": "5\n"}, 5),
        (V1, {"memory/box/memory.limit_in_bytes": "7\n"}, 7),
        (V1, {"memory/box/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "7\n"}, None),
        ("", {}, None),
    ],
)
def test_the_limit_is_the_own_cgroups(
    cgroups: str, files: dict[str, str], want: int | None, tmp_path: Path
) -> None:
    below = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert limit_bytes(fake_host(tmp_path, {"proc/self/cgroup": cgroups, **below})) == want


@pytest.mark.parametrize("limit", [LITTLE_BYTES - 1, LITTLE_BYTES, None])
def test_programs_are_loaded_one_by_one_where_memory_is_little(
    limit: int | None, tmp_path: Path
) -> None:
    files = {"proc/self/cgroup": V2, "sys/kernel/btf/vmlinux": ""}
    files |= {"sys/fs/cgroup/box/memory.max": "max" if limit is None else str(limit)}
    one = at_once(Options(host=fake_host(tmp_path, files))) == 1
    assert one is (limit == LITTLE_BYTES - 1 or os.cpu_count() == 1)
