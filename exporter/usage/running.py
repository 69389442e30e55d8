"""Windows that move along with the ticks: each costs the same after a day as after a minute.

The rule: at every tick the answer is that of window.py over the same rows (a property test holds
them equal). What leaves a window is read back from the store, so that a day is kept once only.
Values are float32, as the store keeps them: who starts anew from the file gets the same answers.
"""

import math
from array import array
from bisect import bisect_left, insort
from collections import deque
from typing import Protocol

from exporter.usage.series import Series
from exporter.usage.store import Store
from exporter.usage.window import quantile_of_sorted

FRACTION = 1 << 24


class Running(Protocol):
    """Rows come in order and leave in the same order."""

    def add(self, row: int, value: float) -> None: ...

    def drop(self, row: int, value: float) -> None: ...

    def answer(self) -> float | None: ...


class Mean:
    """Sums whole numbers, so that what was added goes away without a trace."""

    def __init__(self) -> None:
        self._sum = self._count = 0

    def add(self, row: int, value: float) -> None:
        self._sum += round(value * FRACTION)
        self._count += 1

    def drop(self, row: int, value: float) -> None:
        self._sum -= round(value * FRACTION)
        self._count -= 1

    def answer(self) -> float | None:
        return self._sum / self._count / FRACTION if self._count else None


class Extreme:
    """The largest (`sign` 1) or smallest (−1). Remembers those only that nothing larger has
    followed: a handful of a day's."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._best: deque[tuple[int, float]] = deque()

    def add(self, row: int, value: float) -> None:
        value *= self._sign
        while self._best and self._best[-1][1] <= value:
            self._best.pop()
        self._best.append((row, value))

    def drop(self, row: int, value: float) -> None:
        if self._best and self._best[0][0] <= row:
            self._best.popleft()

    def answer(self) -> float | None:
        return self._best[0][1] * self._sign if self._best else None


class Quantile:
    """All values in order, four bytes each: a value finds its place by halving, and what is
    moved for it is 35 KB for a day."""

    def __init__(self, q: float) -> None:
        self._q = q
        self._sorted = array("f")

    def add(self, row: int, value: float) -> None:
        insort(self._sorted, value)

    def drop(self, row: int, value: float) -> None:
        del self._sorted[bisect_left(self._sorted, value)]

    def answer(self) -> float | None:
        return quantile_of_sorted(self._sorted, self._q)


class Trailing:
    """One series' last `seconds`. Begins with what the store has of it."""

    def __init__(self, store: Store, series: Series, seconds: float, running: Running) -> None:
        self._store, self._series, self._seconds = store, series, seconds
        self._running = running
        self._tail = max(store.row_after(store.last_elapsed - seconds), store.since(series))
        for row in range(self._tail, store.end):
            value = store.value(series, row)
            if not math.isnan(value):
                running.add(row, value)

    def advance(self, elapsed: float, value: float | None) -> float | None:
        """The answer at a tick whose row is about to be written, as row `store.end`; `value` is
        what it will hold, as float32, None where unknown."""
        store = self._store
        overwritten = store.end - store.shape.rows  # the row whose slot is taken next
        tail, start = self._tail, elapsed - self._seconds
        while tail < store.end and (tail <= overwritten or store.elapsed(tail) <= start):
            gone = store.value(self._series, tail)
            if not math.isnan(gone):
                self._running.drop(tail, gone)
            tail += 1
        self._tail = tail
        if value is not None:
            self._running.add(store.end, value)
        return self._running.answer()
