"""A wall clock that was set is noticed, so that no round trip is measured across the jump.

Arrivals are stamped by the kernel on CLOCK_REALTIME; departures must be read off the same clock,
and that one may be set while a probe is on its way.
"""

import time
from collections.abc import Callable

_JUMP_NS = 1_000_000
_SLEW = 1e-3  # adjtimex slews by 500 ppm, an oscillator is off by less
_CLOSE_NS = 50_000


class WallClock:
    """Nanoseconds of CLOCK_REALTIME less all jumps seen so far. Call `look` before using
    timestamps that may be from before a jump: once per batch is enough."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.jumped_ns = 0
        """Sum of all jumps: to be taken from the kernel's stamps as well."""
        self.jumps = 0
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        self._offset, self._looked = self._offset_ns()

    def look(self) -> None:
        offset, now = self._offset_ns()
        moved = offset - self._offset
        if abs(moved) > _JUMP_NS + (now - self._looked) * _SLEW:
            self.jumped_ns += moved
            self.jumps += 1
        self._offset, self._looked = offset, now

    def now_ns(self) -> int:
        return self._wall_ns() - self.jumped_ns

    def _offset_ns(self) -> tuple[int, int]:
        """Wall less monotonic clock, and the latter; read again where something came between."""
        for _ in range(4):
            before = self._monotonic_ns()
            wall = self._wall_ns()
            after = self._monotonic_ns()
            if after - before < _CLOSE_NS:
                break
        return wall - (before + after) // 2, after
