"""Which column of a row is whose, since when, and what a counter's last total was.

The rule: a column is one series' at a time, and what is in its rows from before `since` is not
that series'. Knows neither rows nor files.
"""

from collections.abc import Collection

from exporter.usage.layout import Column, Directory, Refused
from exporter.usage.series import Kind, Series

GRACE_ROWS = 30  # a series that was gone for so many may lose its column to a new one
# Where pods come and go by the hundred a minute, a short grace keeps the dead from being most of
# the file; what rests is read once in six ticks, and is not gone.
CROWDED_COLUMNS, CROWDED_GRACE_ROWS = 4096, 12


class Columns:
    """Lists are by column. `since` is elapsed seconds; `seen` is the number of the last row in
    which the series was; `totals` are of counters, which `counts` tells."""

    def __init__(self) -> None:
        self.places: dict[Series, int] = {}
        self.owners: list[Series | None] = []
        self.since: list[float] = []
        self.seen: list[int] = []
        self.totals: list[float] = []
        self.counts: list[bool] = []
        self.kept: frozenset[Series] = frozenset()
        """These never lose their column."""

    def fit(self, columns: int) -> None:
        """So many there are from now on; never fewer than before."""
        more = columns - len(self.owners)
        self.owners += [None] * more
        self.since += [0.0] * more
        self.seen += [-1] * more
        self.totals += [0.0] * more
        self.counts += [False] * more

    def own(self, series: Series, column: int, since: float) -> None:
        before = self.owners[column]
        if before is not None:
            del self.places[before]
        self.places[series] = column
        self.owners[column] = series
        self.since[column] = since
        self.seen[column] = -1 - GRACE_ROWS
        self.counts[column] = series.kind == "counter"

    def free(self, wanted: int, values: Collection[Series], row: int) -> list[int]:
        """Columns without an owner; if those are fewer than `wanted`, then also, longest gone
        first, those whose owner is not in `values` and was last seen long before `row`."""
        free = [column for column, owner in enumerate(self.owners) if owner is None]
        grace = GRACE_ROWS if len(self.owners) < CROWDED_COLUMNS else CROWDED_GRACE_ROWS
        if len(free) < wanted:
            gone = [
                (self.seen[column], column)
                for column, owner in enumerate(self.owners)
                if owner is not None
                and self.seen[column] < row - grace
                and owner not in values
                and owner not in self.kept
            ]
            free += [column for _, column in sorted(gone)]
        return free

    def seen_all(self, row: int) -> None:
        """As if every series had last been in this row."""
        self.seen = [row] * len(self.seen)

    def things(self) -> dict[str, list[Column]]:
        """As a directory has them."""
        things: dict[str, list[Column]] = {}
        for series, column in self.places.items():
            thing, _, measure = series.name.rpartition(".")
            entry = Column(measure, series.kind, column, self.since[column])
            things.setdefault(thing, []).append(entry)
        return things

    def take(self, directory: Directory) -> None:
        """Raises Refused for a column that there is none of."""
        for thing, columns in directory.things.items():
            for entry in columns:
                if not 0 <= entry.column < len(self.owners):
                    raise Refused("its directory names columns that it has not")
                name = f"{thing}.{entry.measure}" if thing else entry.measure
                kind: Kind = "counter" if entry.kind == "counter" else "gauge"
                self.own(Series(name, kind), entry.column, entry.since)
