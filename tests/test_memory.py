"""Memory is given back, and what was kept from collection once is looked at again."""

import gc
import subprocess
import sys
import weakref

from exporter.memory import give_back


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
