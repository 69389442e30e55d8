"""How long to wait after failures in a row: longer each time, never all at once, and not less than
the API asks. Pure but for the dice."""

import random
from collections.abc import Callable

FIRST_SECONDS = 1.0
MOST_SECONDS = 30.0


class Backoff:
    """`dice` answers from 0 to 1. Waits are between half and the whole of 1, 2, 4, … 30 s."""

    def __init__(
        self,
        first: float = FIRST_SECONDS,
        most: float = MOST_SECONDS,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._first, self._most, self._dice = first, most, dice
        self.failures = 0

    def failed(self, retry_after: float | None = None) -> float:
        """Seconds to wait now."""
        most = min(self._most, self._first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        wait = most * (1 + self._dice()) / 2
        if retry_after is None:
            return wait
        # Those who were all told the same second do not come all in it.
        return max(wait, retry_after * (1 + self._dice() / 10))

    def succeeded(self) -> None:
        self.failures = 0
