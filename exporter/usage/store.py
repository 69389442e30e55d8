"""Keeps series over time: a ring of rows, one per tick, in a mapped file or in memory.

The rule: elapsed only grows, and no window mixes two series. A counter is kept as the delta to
the row before it (float32 loses a total above 2^24, never a delta's leading digits).

    reset     a total below the last one: that delta is unknown, the next is against the new total
    missing   a series that is not in a tick has no value there, and its next delta is unknown
    restart   on the same boot: elapsed goes on exactly; deltas across it are unknown
    reboot    the monotonic clock began anew: history is moved back by the wall clock's gap between
              the last row and now; where that is not positive (the clock was set back, or is not
              set yet), by one interval
    clocks    the wall clock is only written down; its steps while running move nothing
    no time   a tick that is not later than the last row is not stored
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, cast

from exporter.usage import backing, layout
from exporter.usage.backing import Backing
from exporter.usage.columns import GRACE_ROWS, Columns
from exporter.usage.layout import Directory, Refused, RowHead, Shape
from exporter.usage.series import Series
from exporter.usage.window import Window

MAX_COLUMNS = 1 << 14
FORGET_BYTES = 1 << 18


class Now(NamedTuple):
    """When it is: monotonic and wall seconds, and the id of this boot."""

    monotonic: float
    wall: float
    boot: str


def rows_for(span: float, interval: float) -> int:
    """Rows that hold `span` seconds: some more than fit, since ticks jitter and each start adds
    one that comes early."""
    return math.ceil(span / interval * 1.005) + 16


class Store:
    """Not for two threads at once. `first` and `end` number rows for as long as the store is
    open: row n is in slot n % rows; those before `first` are overwritten."""

    def __init__(self, shape: Shape, under: Backing, now: Now) -> None:
        """Over an empty backing; see `open_file` and `in_memory`."""
        self._under = under
        self._wanted = shape
        self._generation = 0
        self._boot = now.boot
        self._epoch = now.monotonic - shape.interval  # so that the first row's elapsed is not 0
        self.first = self.end = 0
        self._columns = Columns()
        self._row = self._blank = array("f")
        self._order: list[Series] = []  # of the last tick, and the column of each
        self._order_columns: list[int] = []
        self._fit_columns()
        self.left_out = 0
        """Series that the last tick had and that found no column."""

    # --- what it holds

    @property
    def on_disk(self) -> bool:
        return self._under.path is not None

    @property
    def shape(self) -> Shape:
        return self._under.shape

    @property
    def last_elapsed(self) -> float:
        """Of the newest row, or what stands just before the first."""
        return self.elapsed(self.end - 1) if self.end > self.first else 0.0

    def keep(self, series: Iterable[Series]) -> None:
        """These never lose their column, however long they are missing."""
        self._columns.kept = frozenset(series)

    def series(self) -> Sequence[Series]:
        return list(self._columns.places)

    def elapsed(self, row: int) -> float:
        return self._under.elapsed[row % self._under.shape.rows]

    def head(self, row: int) -> RowHead:
        """When a row that is there was written."""
        shape = self._under.shape
        at = shape.first_row + row % shape.rows * shape.pitch
        elapsed, wall, _, _ = layout.ROW_HEAD.unpack_from(self._under.data, at)
        return RowHead(elapsed, wall)

    def elapsed_at(self, monotonic: float) -> float:
        """The store's time for the clock's."""
        return monotonic - self._epoch

    def row_after(self, elapsed: float) -> int:
        """The first row later than that; `end` where none is."""
        return bisect_right(range(self.end), elapsed, self.first, self.end, key=self.elapsed)

    def since(self, series: Series) -> int:
        """The first row in which its column is its own; `end` where it has none."""
        column = self._columns.places.get(series)
        if column is None:
            return self.end
        since = self._columns.since[column]
        return bisect_left(range(self.end), since, self.first, self.end, key=self.elapsed)

    def value(self, series: Series, row: int) -> float:
        """What is stored: a gauge's value or a counter's delta as float32; NaN where unknown."""
        column = self._columns.places.get(series)
        if column is None or not self.first <= row < self.end:
            return math.nan
        at = row % self._under.shape.rows
        with self._under.column(column) as values:
            return math.nan if self._under.elapsed[at] < self._columns.since[column] else values[at]

    def column(self, series: Series, row: int) -> int:
        """Its place in `row_values(row)`; −1 where it has none there."""
        column = self._columns.places.get(series, -1)
        return column if column >= 0 and self._columns.since[column] <= self.elapsed(row) else -1

    def row_values(self, row: int) -> Sequence[float]:
        """All that is stored of a row that is there, by column; NaN where unknown. A copy of four
        bytes each: of many pods a list of floats would be megabytes for a few rows."""
        found = array("f")
        found.frombytes(self._under.values(row % self._under.shape.rows))
        return found

    def column_values(self, column: int, start: int, stop: int) -> list[float]:
        """What is stored in these rows, which are there. NaN where unknown."""
        with self._under.column(column) as view:
            return self._slots(view, start, stop)

    def times(self, start: int, stop: int) -> list[float]:
        """Elapsed of these rows, which are there."""
        return self._slots(self._under.elapsed, start, stop)

    def window(self, series: Series, seconds: float, end: float | None = None) -> Window:
        """What is known of it in the `seconds` that end at elapsed `end` (None: the newest row)."""
        end = self.last_elapsed if end is None else end
        start = max(self.row_after(end - seconds), self.since(series))
        stop = self.row_after(end)
        column = self._columns.places.get(series)
        if column is None or start >= stop:
            return Window((), (), ())
        times = self._slots(self._under.elapsed, start, stop)
        earlier = self.elapsed(start - 1) if start > self.first else times[0]
        with self._under.column(column) as view:
            values = self._slots(view, start, stop)
        spans = [b - a for a, b in zip([earlier, *times], times, strict=False)]
        rows = zip(times, spans, values, strict=True)
        known = [row for row in rows if row[2] == row[2]]  # NaN is not itself
        return Window([r[0] for r in known], [r[1] for r in known], [r[2] for r in known])

    def _slots(self, view: "memoryview[float]", start: int, stop: int) -> list[float]:
        rows = self._under.shape.rows
        a, b = start % rows, stop % rows
        parts = (view[a:b],) if a < b else (view[a:], view[:b])
        return [value for part in parts for value in cast(list[float], part.tolist())]

    # --- what it takes in

    def put(self, monotonic: float, wall: float, values: Mapping[Series, float]) -> bool:
        """One row; False where no time has passed since the last. Raises OSError where the file
        had to grow and the disk would not: the store is then in memory, with all that it had,
        and the row is in it."""
        elapsed = monotonic - self._epoch
        if elapsed <= self.last_elapsed:
            return False
        failed = self._claim_columns(values, elapsed)
        tick = self.end
        row, blank = self._row, self._blank
        row[:] = blank
        columns = self._columns
        seen, totals, counts = columns.seen, columns.totals, columns.counts
        for column, value in zip(self._order_columns, values.values(), strict=True):
            if column < 0:
                continue
            if not counts[column]:
                row[column] = value
            else:
                if seen[column] == tick - 1 and value >= totals[column]:
                    row[column] = value - totals[column]
                totals[column] = value
            seen[column] = tick
        self._write(elapsed, wall, memoryview(row).cast("B"))
        if failed is not None:
            raise failed
        return True

    def _write(self, elapsed: float, wall: float, values: memoryview) -> None:
        shape = self._under.shape
        slot = self.end % shape.rows
        self._under.write_row(slot, elapsed, wall, self._generation, values)
        self.end += 1
        self.first = max(self.first, self.end - shape.rows)
        if slot * shape.pitch // FORGET_BYTES != (slot + 1) * shape.pitch // FORGET_BYTES:
            self._under.forget_pages()

    # --- columns

    def _claim_columns(self, values: Mapping[Series, float], elapsed: float) -> OSError | None:
        """Gives each new series a column; the error where the file could not grow for them."""
        order = list(values)
        if order == self._order and not self.left_out:  # the same objects: next to no time
            return None
        self._order = order
        failed = self._claim_new(values, elapsed)
        columns = self._columns.places
        self._order_columns = [columns.get(series, -1) for series in order]
        return failed

    def _claim_new(self, values: Mapping[Series, float], elapsed: float) -> OSError | None:
        self.left_out = 0
        columns = self._columns
        if values.keys() <= columns.places.keys():
            return None
        new = [series for series in values if series not in columns.places]
        free = columns.free(len(new), values.keys(), self.end)
        failed = None
        if len(free) < len(new):
            had = len(columns.owners)
            failed = self._grow(len(new) - len(free))
            free += range(had, len(columns.owners))
        self.left_out = max(len(new) - len(free), 0)
        for series, column in zip(new, free, strict=False):
            columns.own(series, column, elapsed)
        return (self._write_directory() if free else None) or failed

    def _grow(self, more: int) -> OSError | None:
        had = self._under.shape.columns
        # A quarter more where things come and go, so that each that comes does not copy the file;
        # those that are there from the start need no more than they need.
        young = self.end - self.first < GRACE_ROWS
        want = had + more if young else max(had + more, had * 5 // 4)
        want = min((want + 1) // 2 * 2, MAX_COLUMNS)
        return None if want <= had else self._rebuild(want, layout.directory_room(want))

    def _fit_columns(self) -> None:
        columns = self._under.shape.columns
        self._columns.fit(columns)
        self._blank = array("f", [math.nan]) * columns
        self._row = self._blank[:]

    def _write_directory(self) -> OSError | None:
        """Before any row that needs it."""
        if not self.on_disk:
            return None
        self._generation += 1
        directory = Directory(self._boot, self._epoch, self._columns.things())
        packed = layout.pack_directory(directory, self._generation)
        if self._under.write_directory(packed, self._generation):
            return None
        return self._rebuild(
            self._under.shape.columns, 2 * len(packed) // layout.PAGE * layout.PAGE
        )

    def _rebuild(
        self, columns: int, room: int, slots: Sequence[int] | None = None
    ) -> OSError | None:
        """Rows (None: all; else those in these slots, numbered anew from 0) into a backing of
        another shape: a new file, or memory where the disk refuses, and then the error."""
        old, path = self._under, self._under.path
        if slots is None:
            first = max(self.first, self.end - self._wanted.rows)
            slots = [row % old.shape.rows for row in range(first, self.end)]
        else:
            slots, first = slots[-self._wanted.rows :], 0
        self._under, failed = self._other_backing(columns, room)
        self._fit_columns()
        self.first = self.end = first
        filling = bytes(memoryview(array("f", [math.nan] * (columns - old.shape.columns))))
        for slot in slots:
            at = old.shape.first_row + slot * old.shape.pitch
            elapsed, wall, _, _ = layout.ROW_HEAD.unpack_from(old.data, at)
            self._write(elapsed, wall, memoryview(bytes(old.values(slot)) + filling))
        self.first = first
        old.close()
        if path is None or failed is not None:
            return failed
        try:
            self._write_directory()
            backing.put_in_place(path)
        except OSError as error:
            return error
        return None

    def _other_backing(self, columns: int, room: int) -> tuple[Backing, OSError | None]:
        shape = self._wanted._replace(columns=columns, directory=room)
        try:
            if self._under.path is not None:
                return backing.create(self._under.path, shape), None
        except OSError as error:
            return backing.in_memory(shape._replace(directory=0)), error
        return backing.in_memory(shape._replace(directory=0)), None

    # --- opening

    def adopt(self, now: Now) -> str:
        """Takes over what the file holds: rows in order, series, time. Returns a note for the log,
        "" where all is well. Raises Refused."""
        under = self._under
        generation, directory = layout.read_directories(under.data, under.shape)
        rows, torn = [], 0
        for slot in range(under.shape.rows):
            try:
                head = layout.read_row(under.data, under.shape, slot, generation)
            except Refused:
                torn += 1
            else:
                if head is not None:
                    rows.append((head.elapsed, slot, head.wall))
        rows.sort()
        self._generation = generation
        self._columns.take(directory)
        self._set_time(directory, now, rows[-1] if rows else None)
        self._take_rows([slot for _, slot, _ in rows])
        self._under.forget_pages()
        # One is what a kill leaves at most; more are a machine's that lost its power.
        return f"{torn} torn rows are left out" if torn > 1 else ""

    def _take_rows(self, slots: Sequence[int]) -> None:
        """In order of time; they stay where they are unless torn ones are among them, or the
        shape is to be another."""
        had = self._under.shape
        in_a_row = all(b == (a + 1) % had.rows for a, b in pairwise(slots))
        if slots and in_a_row:
            self.first, self.end = slots[0], slots[0] + len(slots)
        wanted = self._wanted
        if not in_a_row or (had.interval, had.rows) != (wanted.interval, wanted.rows):
            failed = self._rebuild(had.columns, had.directory, slots)
            if failed is not None:
                raise failed
        else:
            self._write_directory()
        # What was there when it ended may go on now: nobody loses a column to the first tick.
        self._columns.seen_all(self.end - 2)

    def _set_time(
        self, directory: Directory, now: Now, last: tuple[float, int, float] | None
    ) -> None:
        self._boot = now.boot
        if last is None:
            return
        elapsed, _, wall = last
        same = bool(now.boot) and directory.boot == now.boot
        if same and now.monotonic - directory.epoch > elapsed:
            self._epoch = directory.epoch
        else:
            gap = now.wall - wall if now.wall > wall else self._wanted.interval
            self._epoch = now.monotonic - elapsed - gap

    def close(self) -> None:
        self._under.close()


def in_memory(interval: float, span: float, now: Now) -> Store:
    """`span` seconds of a row every `interval`; nothing outlives it."""
    shape = Shape(interval, rows_for(span, interval), 0, 0)
    return Store(shape, backing.in_memory(shape), now)


def create(path: Path, interval: float, span: float, now: Now) -> Store:
    """A new file in the place of what may be there. Raises OSError."""
    shape = Shape(interval, rows_for(span, interval), 0, layout.directory_room(0))
    store = Store(shape, backing.create(path, shape), now)
    store._write_directory()
    backing.put_in_place(path)
    return store


def open_file(path: Path, interval: float, span: float, now: Now) -> tuple[Store, str]:
    """The store in this file, made where there is none, and a note for the log, "" if there is
    nothing to say. What is not trusted is set aside as <name>.bad. Raises OSError where the file
    cannot be had for writing, or the disk is full."""
    note = ""
    try:
        found = backing.open_existing(path)
    except FileNotFoundError:
        return create(path, interval, span, now), note
    except Refused as refused:
        note = str(refused)
    else:
        store = Store(Shape(interval, rows_for(span, interval), 0, 0), found, now)
        try:
            return store, store.adopt(now)
        except Refused as refused:
            note = str(refused)
            store.close()
    bad = backing.set_aside(path)
    return create(path, interval, span, now), f"not trusted ({note}); set aside as {bad.name}"


def read_file(path: Path) -> Store:
    """A file as it is, nothing written to it, for looking into: also one that an agent is writing.
    Raises OSError, Refused."""
    found = backing.open_existing(path, writable=False)
    copy = backing.in_memory(found.shape)
    copy.data[:] = found.data
    found.close()
    shape = copy.shape
    store = Store(shape, copy, Now(0.0, 0.0, ""))
    store.adopt(Now(0.0, 0.0, ""))
    return store
