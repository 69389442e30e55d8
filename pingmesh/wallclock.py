"""A wall clock that was set is noticed, so that no round trip is measured across the jump.

Arrivals are stamped by the kernel on CLOCK_REALTIME; departures must be read off the same clock,
and that one may be set while a probe is on its way.
"""

import time

_JUMP_NS = 1_000_000
_SLEW = 1e-3  # adjtimex slews by 500 ppm, an oscillator is off by less
_CLOSE_NS = 50_000


class WallClock:
    """Nanoseconds of CLOCK_REALTIME less all jumps seen so far. Call `look` before using
    timestamps that may be from before a jump: once per batch is enough."""

    def __init__(self) -> None:
        self.jumped_ns = 0
        """Sum of all jumps: to be taken from the kernel's stamps as well."""
        self.jumps = 0
        self._offset, self._looked = _offset_ns()

    def look(self) -> None:
        offset, now = _offset_ns()
        moved = offset - self._offset
        if abs(moved) > _JUMP_NS + (now - self._looked) * _SLEW:
            self.jumped_ns += moved
            self.jumps += 1
        self._offset, self._looked = offset, now

    def now_ns(self) -> int:
        return time.time_ns() - self.jumped_ns


def _offset_ns() -> tuple[int, int]:
    """Wall less monotonic clock, and the latter; read again where something came in between."""
    for _ in range(4):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before < _CLOSE_NS:
            break
    return wall - (before + after) // 2, after
