"""A file that is replaced as a whole: who reads it, also after a crash, has the old one or the new.

It is written beside, under a name of its own, and renamed. Knows no content.
"""

import os
from pathlib import Path


def beside(path: Path) -> Path:
    """What it is called until it is whole."""
    return path.with_name(path.name + ".new")


def replace_whole(path: Path, data: bytes, *, mode: int = 0o666, synced: bool = False) -> None:
    """`mode` is less the umask. `synced`: the content is on disk before it has its name; that the
    folder is too is left to whoever needs it. Raises OSError, and all is as it was then."""
    new = beside(path)
    new.unlink(missing_ok=True)
    try:
        _write(new, data, mode, synced)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _write(new: Path, data: bytes, mode: int, synced: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(new, flags, mode)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        if synced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
