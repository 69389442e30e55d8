"""How often tracepoints were hit, by perf's own counters: another way to see the same events,
exact however many there are, by one thread and by the whole machine.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.kernel.tracing import tracefs

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}[platform.machine()]
_TRACEPOINT = 2  # include/uapi/linux/perf_event.h: PERF_TYPE_TRACEPOINT
_CLOSE_ON_EXEC = 8
_ATTR = struct.Struct("=IIQQQQQIIQ")  # struct perf_event_attr as far as PERF_ATTR_SIZE_VER0


class Tallies:
    """Of each event, since they were opened: `own` counts the thread that opened them,
    `everyones` whoever it was."""

    def __init__(self, ids: dict[str, int], stack: ExitStack) -> None:
        cpus = range(os.cpu_count() or 1)
        self._own = {name: [_opened(number, 0, -1, stack)] for name, number in ids.items()}
        self._everyones = {
            name: [_opened(number, -1, cpu, stack) for cpu in cpus] for name, number in ids.items()
        }

    def own(self) -> dict[str, int]:
        return _read(self._own)

    def everyones(self) -> dict[str, int]:
        return _read(self._everyones)


@contextmanager
def tallies(folder: Path, events: Sequence[str]) -> Iterator[Tallies]:
    """Of events by their tracefs names ("filemap/mm_filemap_fault"). `folder` is made, for a mount
    that nobody else looks at."""
    with tracefs(folder), ExitStack() as stack:
        ids = {event: int((folder / "events" / event / "id").read_text()) for event in events}
        yield Tallies(ids, stack)


def _opened(number: int, pid: int, cpu: int, stack: ExitStack) -> int:
    attr = _ATTR.pack(_TRACEPOINT, _ATTR.size, number, 0, 0, 0, 0, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = map(ctypes.c_long, (pid, cpu, -1, _CLOSE_ON_EXEC))
    fd = libc.syscall(ctypes.c_long(_PERF_EVENT_OPEN), attr, *arguments)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    stack.callback(os.close, fd)
    return int(fd)


def _read(found: dict[str, list[int]]) -> dict[str, int]:
    return {
        name: sum(int.from_bytes(os.read(fd, 8), "little") for fd in fds)
        for name, fds in found.items()
    }
