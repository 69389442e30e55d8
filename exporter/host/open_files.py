"""Kernel files that are read again and again: kept open, and read anew at offset 0.

To open a file of a cgroup costs the kernel five times what reading it does. How many are kept is
bounded; over the bound they are opened at each read. Knows nothing of what the files say.
"""

import errno
import os
import resource
from collections.abc import Sequence
from contextlib import suppress

MOST_DESCRIPTORS = 10_000
_DESCRIPTOR_BYTES = 6 << 10  # what the kernel keeps of a cgroup's file: a page of it for its text
_SHARE = 32
_SPARE_DESCRIPTORS = 512  # for everything else that the process has open
_ENOUGH = 4096  # bytes: some 60 lines of memory.stat are 2 KB, a line of io.stat 0.1
_MOST = 1 << 20
_SAYS_NOTHING = (errno.EOPNOTSUPP, errno.EINVAL, errno.EISDIR, errno.EACCES, errno.EPERM)


class Gone(Exception):
    """The cgroup was removed: what was read of it is to be left out."""


def affordable(limit: int | None) -> int:
    """How many may be kept open where the own cgroup has so many bytes at most, to which what the
    kernel keeps of them counts: for a 32nd of it. `limit` None: there is none."""
    if limit is None:
        return MOST_DESCRIPTORS
    return min(MOST_DESCRIPTORS, limit // _SHARE // _DESCRIPTOR_BYTES)


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

    A file that is not there when they are opened, or that says nothing (EOPNOTSUPP of pressure
    files where PSI is off), is None for good: controllers do not come later."""

    __slots__ = ("_budget", "_fds", "_paths")

    def __init__(self, paths: Sequence[str], budget: Descriptors) -> None:
        """`paths`: "" for a file that this machine has nowhere."""
        self._paths = tuple(paths)
        self._budget = budget
        self._fds: list[int] | None = None

    def read(self) -> list[bytes | None]:
        """Whole texts in the order of `paths`. Raises Gone where none is there (any more)."""
        fds = self._fds
        if fds is not None:
            try:
                at_once = [os.pread(fd, _ENOUGH, 0) for fd in fds]
            except OSError:  # whichever it was, each is asked below
                pass
            else:
                if max(map(len, at_once)) < _ENOUGH:
                    return [*at_once]
        texts = [self.one(index) for index in range(len(self._paths))]
        if all(text is None for text in texts):
            self.close()
            raise Gone
        return texts

    def one(self, index: int) -> bytes | None:
        """One file's text. Raises Gone."""
        fds = self._fds
        if fds is None:
            fds = self._open()
            if fds is None:
                return read_once(self._paths[index])
        fd = fds[index]
        if fd < 0:
            return None
        try:
            text = os.pread(fd, _ENOUGH, 0)
            return text if len(text) < _ENOUGH else os.pread(fd, _MOST, 0)
        except OSError as error:
            if error.errno in _SAYS_NOTHING:
                os.close(fd)
                fds[index] = -1
                return None
            self.close()
            raise Gone from error  # ENODEV

    def _open(self) -> list[int] | None:
        """None where there is no room to keep them open."""
        if self._budget.left < len(self._paths):
            return None
        fds = [_open(path) for path in self._paths]
        if max(fds) < 0:
            raise Gone
        self._budget.left -= len(fds)
        self._fds = fds
        return fds

    def close(self) -> None:
        """May be read again afterwards: then they are opened anew."""
        if self._fds is not None:
            for fd in self._fds:
                if fd >= 0:
                    os.close(fd)
            self._budget.left += len(self._fds)
            self._fds = None


def _open(path: str) -> int:
    """-1 where there is nothing to open."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else -1
    except OSError:
        return -1


def read_once(path: str) -> bytes | None:
    """A whole file that is not kept open; None where there is nothing to read."""
    fd = _open(path)
    if fd < 0:
        return None
    try:
        return os.pread(fd, _MOST, 0)
    except OSError:
        return None
    finally:
        os.close(fd)
