"""A store at one of its rows: signals read from it, at that row and in windows that end there.

The rule: what is known of a signal at a row is reckoned of its series at that row alone, counters
as rates over the row's own seconds. Rows are read whole while they are few, else by column.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import NamedTuple

from exporter.interference.signals import Signal
from exporter.usage.store import Store
from exporter.usage.window import Window

_FEW_ROWS = 16  # up to so many are read whole, once for all signals; more by column
EMPTY = Window((), (), ())

RowValues = dict[int, Sequence[float]]
"""Of one store: values by column of the rows that were looked at lately."""


class _Stretch(NamedTuple):
    start: int
    stop: int
    times: Sequence[float]
    spans: Sequence[float]


class Tick:
    """A store at one of its rows. `shift` makes its elapsed seconds those of the first tier's;
    `lock` is held for as long as something is copied."""

    def __init__(
        self,
        store: Store,
        row: int,
        lock: AbstractContextManager[object],
        rows: "RowValues",
        shift: float = 0.0,
    ) -> None:
        self._store, self._row, self._lock, self._shift = store, row, lock, shift
        with lock:
            self.elapsed = store.elapsed(row) + shift
            before = store.elapsed(row - 1) if row > store.first else None
            self.series_count = len(store.series())
        self._span = None if before is None else self.elapsed - shift - before
        self._rows = rows
        self._stretches: dict[float, _Stretch] = {}

    def names(self) -> list[str]:
        with self._lock:
            return [series.name for series in self._store.series()]

    def newest(self, signal: Signal) -> tuple[bool, float | None]:
        """Whether this store has the series at all, and the signal at its row."""
        row = self._row
        values = self._row_values(row)
        with self._lock:
            columns = [self._store.column(series, row) for series in signal.inputs]
        known: list[float] = []
        found = False
        for series, column in zip(signal.inputs, columns, strict=True):
            if column >= 0:
                found = True
                if column < len(values):
                    value = values[column]
                    if series.kind == "counter":
                        value = value / self._span if self._span else float("nan")
                    if value == value:  # NaN is not itself
                        known.append(value)
                        continue
            if not signal.partial:
                return found, None
        return found, _reckoned(signal, known)

    def _row_values(self, row: int) -> Sequence[float]:
        """By column; read once, whoever asks, at this tick or one after it."""
        values = self._rows.get(row)
        if values is None:
            with self._lock:
                values = self._store.row_values(row) if row >= self._store.first else ()
            for old in [each for each in self._rows if each <= row - 2 * _FEW_ROWS]:
                del self._rows[old]
            self._rows[row] = values
        return values

    def window(self, signal: Signal, seconds: float) -> Window | None:
        """None where this store has none of the series."""
        store = self._store
        rows = self._stretches.get(seconds) or self._stretch(seconds)
        start = rows.start
        with self._lock:
            columns = [store.column(series, self._row) for series in signal.inputs]
            if not signal.partial and start < rows.stop:
                for series, column in zip(signal.inputs, columns, strict=True):
                    if column >= 0 and store.column(series, start) < 0:  # it came later
                        start = max(start, store.since(series))
        if max(columns) < 0:
            return None
        if not signal.partial and min(columns) < 0:
            return EMPTY
        if start >= rows.stop:
            return EMPTY
        own = [column for column in columns if column >= 0]
        if rows.stop - start <= _FEW_ROWS:
            lists = [self._row_values(row) for row in range(start, rows.stop)]
            nan = float("nan")
            values = [[v[at] if at < len(v) else nan for v in lists] for at in own]
        else:
            with self._lock:
                values = [store.column_values(column, start, rows.stop) for column in own]
        kinds = [
            s.kind == "counter" for s, at in zip(signal.inputs, columns, strict=True) if at >= 0
        ]
        skip = start - rows.start
        if skip:
            return _joined(signal, rows.times[skip:], rows.spans[skip:], values, kinds)
        return _joined(signal, rows.times, rows.spans, values, kinds)

    def _stretch(self, seconds: float) -> _Stretch:
        store = self._store
        with self._lock:
            start = store.row_after(self.elapsed - self._shift - seconds)
            stop = self._row + 1
            times = store.times(start, stop)
            first = store.elapsed(start - 1) if start > store.first else None
        spans = [b - a for a, b in pairwise(times)]
        spans.insert(0, 0.0 if first is None or not times else times[0] - first)
        shifted = [at + self._shift for at in times] if self._shift else times
        found = self._stretches[seconds] = _Stretch(start, stop, shifted, spans)
        return found


def _reckoned(signal: Signal, known: Sequence[float]) -> float | None:
    if not known:
        return None
    return known[0] if signal.reckon is None else signal.reckon(known)


def _of_one(times: Sequence[float], spans: Sequence[float], values: Sequence[float]) -> Window:
    """A counter's rates, nothing else to be reckoned: what is asked most."""
    rates = [
        (at, span, value / span)
        for at, span, value in zip(times, spans, values, strict=True)
        if value == value and span > 0
    ]
    return Window([r[0] for r in rates], [r[1] for r in rates], [r[2] for r in rates])


def _joined(
    signal: Signal,
    times: Sequence[float],
    spans: Sequence[float],
    columns: Sequence[Sequence[float]],
    counters: Sequence[bool],
) -> Window:
    if signal.reckon is None and counters[0]:
        return _of_one(times, spans, columns[0])
    elapsed: list[float] = []
    kept: list[float] = []
    values: list[float] = []
    for at, span, *row in zip(times, spans, *columns, strict=True):
        known = []
        for value, counter in zip(row, counters, strict=True):
            if value == value and (span > 0 or not counter):
                known.append(value / span if counter else value)
            elif not signal.partial:
                break
        else:
            answer = _reckoned(signal, known)
            if answer is not None:
                elapsed.append(at)
                kept.append(span)
                values.append(answer)
    return Window(elapsed, kept, values)
