"""Memory that start-up used and nobody needs again is given back to the kernel.

The agent's memory is a feature: it shares a node with the work that it watches.
"""

import contextlib
import ctypes
import gc

from exporter.hostfs import HostFs

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h of glibc
_LARGE_BYTES = 128 << 10  # glibc's own, which by this stays
_NO_LIMIT = 1 << 62  # v1 has a number for none (mm/memcontrol.c: PAGE_COUNTER_MAX pages)


def one_heap() -> None:
    """All threads share one C heap, which is to be said before there are any (mallopt(3)). They
    take turns at Python anyway, and what one thread's heap has to spare no other's can use: under
    load that was a fifth of an agent's memory. Large blocks are not of the heap, however many there
    were: by default glibc takes them for part of it once one was freed, as libbpf's copies of the
    kernel's types are, and what is then above them keeps them."""
    with contextlib.suppress(AttributeError):  # a libc without it
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Collects what is garbage, takes what is left out of later collections (modules and
    configuration live as long as the process), and trims the C heap (malloc_trim(3), glibc)."""
    gc.unfreeze()  # what an earlier call took out may be garbage by now
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError):  # a libc without it
        ctypes.CDLL(None).malloc_trim(0)


def limit_bytes(fs: HostFs) -> int | None:
    """What the own cgroup may have at most (memory.max, v1: memory.limit_in_bytes); None where
    there is no limit, or none can be read."""
    from exporter.metrics.process import memory_files

    try:
        cgroups = (fs.proc / "self/cgroup").read_text(errors="replace")
    except OSError:
        return None
    for file in memory_files(fs.cgroup, cgroups):
        name = "memory.max" if file.name == "memory.current" else "memory.limit_in_bytes"
        try:
            found = int(file.with_name(name).read_text())
        except (OSError, ValueError):  # "max"
            continue
        if found < _NO_LIMIT:
            return found
    return None
