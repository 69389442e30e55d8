"""Kernel files that are read again and again: kept open, and read anew at offset 0.

To open a file of a cgroup costs the kernel five times what reading it does. How many are kept is
bounded; over the bound they are opened at each read. Knows nothing of what the files say.
"""

import os
import resource
from collections.abc import Iterable, Sequence
from contextlib import suppress

# Each open file of a cgroup holds a page of text in the kernel beside its own 0.6 KB.
MOST_DESCRIPTORS = 10_000
_SPARE_DESCRIPTORS = 512  # for everything else that the process has open
_ENOUGH = 16_384  # bytes: some 60 lines of memory.stat are 2 KB, a line of io.stat 0.1
_MOST = 1 << 20


class Gone(Exception):
    """The cgroup was removed: what was read of it is to be left out."""


class Descriptors:
    """How many files all cgroups together may keep open. The process's soft limit is raised as
    far as that needs and the hard one lets it."""

    def __init__(self, most: int = MOST_DESCRIPTORS) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = resource.RLIM_INFINITY
        want = most + _SPARE_DESCRIPTORS
        if soft != unlimited and soft < want:
            raised = want if hard == unlimited else min(want, hard)
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
                soft = raised
        room = most if soft == unlimited else max(soft - _SPARE_DESCRIPTORS, 0)
        self.left = min(most, room)


class OpenFiles:
    """Some files of one cgroup, or of /proc; used from one thread at a time.

    A file that is not there at the first read, or says nothing (EOPNOTSUPP of pressure files
    where PSI is off), is None for good: controllers do not come later."""

    __slots__ = ("_budget", "_fds", "_paths")

    def __init__(self, paths: Sequence[str], budget: Descriptors) -> None:
        """`paths`: "" for a file that this machine has nowhere."""
        self._paths = tuple(paths)
        self._budget = budget
        self._fds: list[int] | None = None

    def read(self) -> list[bytes | None]:
        """Whole texts in the order of `paths`. Raises Gone where none is there (any more)."""
        fds = self._fds
        if fds is None:
            return self._open_and_read()
        try:
            texts = [None if fd < 0 else os.pread(fd, _ENOUGH, 0) for fd in fds]
            for index, text in enumerate(texts):
                if text is not None and len(text) == _ENOUGH:
                    texts[index] = os.pread(fds[index], _MOST, 0)
        except OSError as error:  # ENODEV
            self.close()
            raise Gone from error
        return texts

    def _open_and_read(self) -> list[bytes | None]:
        keep = self._budget.left >= len(self._paths)
        fds: list[int] = []
        texts: list[bytes | None] = []
        for path in self._paths:
            fd, text = _open_and_read(path) if path else (-1, None)
            if not keep and fd >= 0:
                os.close(fd)
            fds.append(fd)
            texts.append(text)
        if all(text is None for text in texts):
            _close(fds if keep else ())
            raise Gone
        if keep:
            self._budget.left -= len(fds)
            self._fds = fds
        return texts

    def close(self) -> None:
        """May be read again afterwards: then they are opened anew."""
        if self._fds is not None:
            _close(self._fds)
            self._budget.left += len(self._fds)
            self._fds = None


def _open_and_read(path: str) -> tuple[int, bytes | None]:
    """(-1, None) where there is nothing to read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1, None
    try:
        return fd, os.pread(fd, _MOST, 0)
    except OSError:
        os.close(fd)
        return -1, None


def read_once(path: str) -> bytes | None:
    """A whole file that is not kept open; None where there is nothing to read."""
    fd, text = _open_and_read(path)
    if fd >= 0:
        os.close(fd)
    return text


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
