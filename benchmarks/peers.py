"""Others' programs that benchmarks run beside ours or load the machine with: those that the
Makefile unpacked, else the machine's own.
"""

import os
import shutil

from tests.peers import PROGRAMS, environment

__all__ = ["environment", "find"]


def find(name: str) -> str | None:
    """None where it is neither unpacked nor in PATH."""
    return shutil.which(name, path=f"{PROGRAMS}:{os.environ['PATH']}")
