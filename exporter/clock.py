"""Time as a parameter: whoever needs it is given a Clock, so tests decide what time it is."""

import time
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that never go back (CLOCK_MONOTONIC)."""

    def wall(self) -> float:
        """Seconds since the epoch; may jump either way."""


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()
