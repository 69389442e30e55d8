"""Memory that start-up used and nobody needs again is given back to the kernel.

The agent's memory is a feature: it shares a node with the work that it watches.
"""

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Collects what is garbage, takes what is left out of later collections (modules and
    configuration live as long as the process), and trims the C heap (malloc_trim(3), glibc)."""
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError):  # a libc without it
        ctypes.CDLL(None).malloc_trim(0)
