"""Events that programs send: ring buffers and perf event arrays, read as they come.

The rule: a thread of its own waits on each buffer, so that nothing waits for a scrape; whatever
could not be handed over is counted. It must not know what events mean.
"""

import ctypes
import os
import select
from collections.abc import Callable

from exporter.ebpf.libbpf import Libbpf, LibbpfError
from exporter.errors import BpfError
from exporter.threads import Lasting

KINDS = frozenset(("ringbuf", "perf_event_array"))
PERF_PAGES = 64
"""Of each CPU's part of a perf event array's memory; a power of two."""

Sink = Callable[[bytes], None]
"""Takes an event's bytes: at least what was sent, a perf event may have zeroes behind it. Called
in the buffer's thread; must not raise."""

_VOID, _INT, _U32, _U64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_uint64
_RING_SAMPLE = ctypes.CFUNCTYPE(_INT, _VOID, _VOID, ctypes.c_size_t)
_PERF_SAMPLE = ctypes.CFUNCTYPE(None, _VOID, _INT, _VOID, _U32)
_PERF_LOST = ctypes.CFUNCTYPE(None, _VOID, _INT, _U64)


class EventBuffer:
    """One map's events, handed to every sink until `close`."""

    def __init__(self, lib: Libbpf, name: str, kind: str, fd: int) -> None:
        self.lost = 0
        """Events that the kernel had no room for, as far as it says so by itself: of ring buffers
        only the program knows (refused_<map>)."""
        self._lib, self._is_ring = lib, kind == "ringbuf"
        self._sinks: tuple[Sink, ...] = ()
        if kind not in KINDS:
            raise BpfError(f"map {name}: a {kind} map sends no events")
        # Callbacks live as long as the buffer: C keeps only their addresses.
        self._callbacks = (
            _RING_SAMPLE(self._on_ring),
            _PERF_SAMPLE(self._on_perf),
            _PERF_LOST(self._on_lost),
        )
        ring, perf, lost = (ctypes.cast(each, _VOID) for each in self._callbacks)
        try:
            if self._is_ring:
                self._buffer = lib.pointer("ring_buffer__new", fd, ring, None, None)
            else:
                self._buffer = lib.pointer(
                    "perf_buffer__new", fd, PERF_PAGES, perf, lost, None, None
                )
        except LibbpfError as error:
            raise BpfError(f"map {name}: its events cannot be read: {error}") from None
        self._verbs = "ring_buffer__" if self._is_ring else "perf_buffer__"
        self._stop = os.eventfd(0)
        self._thread = Lasting(self._run, f"events-{name}")
        self._thread.start()

    def add(self, sink: Sink) -> None:
        self._sinks = (*self._sinks, sink)

    def close(self) -> None:
        """What has been sent until now is still handed over."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        self._lib.raw(f"{self._verbs}free", self._buffer)
        os.close(self._stop)

    def _run(self) -> None:
        ready = select.poll()
        ready.register(self._lib.call(f"{self._verbs}epoll_fd", self._buffer), select.POLLIN)
        ready.register(self._stop, select.POLLIN)
        stopping = False
        while not stopping:
            stopping = any(fd == self._stop for fd, _ in ready.poll())
            self._lib.call(f"{self._verbs}consume", self._buffer)

    def _on_ring(self, _: int, data: int, size: int) -> int:
        self._hand_over(data, size)
        return 0

    def _on_perf(self, _: int, __: int, data: int, size: int) -> None:
        self._hand_over(data, size)

    def _on_lost(self, _: int, __: int, count: int) -> None:
        self.lost += count

    def _hand_over(self, data: int, size: int) -> None:
        event = ctypes.string_at(data, size)
        for sink in self._sinks:
            sink(event)
