"""A kernel file's whole text, with the fewest calls: they are read every second.

A short read is not the end of a /proc file; an empty one is (fs/seq_file.c).
"""

import os

_ENOUGH = 1 << 16
_MOST_DIGITS = 20  # of 64 bits


def is_count(text: str) -> bool:
    """Whether it is a number as the kernel counts; int() takes other digits, and refuses many."""
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def read_text(path: str) -> str:
    """Raises OSError, with the file's name in it, and UnicodeDecodeError (a ValueError)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(descriptor, _ENOUGH)]
        while parts[-1]:
            parts.append(os.read(descriptor, _ENOUGH))
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
    return b"".join(parts).decode()
