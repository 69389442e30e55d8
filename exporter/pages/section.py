"""Parts of a page as plain values: titled tables and numbers over time, which a page, JSON and a
terminal show alike.

Whoever has something to show makes Sections; it knows no HTML. What is unknown is "–", never 0.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

UNKNOWN = "–"
Mood = Literal["", "on", "off", "soft"]
"""How a cell is meant: well, wrong, of little weight. The text says it too."""


class Cell(NamedTuple):
    text: str
    mood: Mood = ""


Row = tuple[str | Cell, ...]


class Link(NamedTuple):
    path: str
    text: str


class Section(NamedTuple):
    """`name` is unique on its page. Each row has as many cells as `columns`; the first names the
    row. `empty` is said where there are no rows; `note` in any case, below the title. What is
    `urgent` stands above what is only good to know."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    empty: str = "Nothing."
    note: str = ""
    link: Link | None = None
    urgent: bool = False


Points = tuple[float | None, ...]
"""At equal distances in time, the newest last; None where nothing is known."""


class Chart(NamedTuple):
    """A number over time, in percent: `now` is the newest, None where it is unknown; `spans` are
    points by what they span ("last hour")."""

    name: str
    now: float | None
    spans: Mapping[str, Points]


def cell(value: str | Cell) -> Cell:
    return value if isinstance(value, Cell) else Cell(value)


def share(value: float | None) -> str:
    """Of one, as percent; what is small is not rounded away."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.0001:
        return "< 0.01 %"
    return f"{value * 100:.2f} %" if value < 0.1 else f"{value * 100:.0f} %"


def per_second(value: float | None) -> str:
    """Short: "0.2/s", "1,204/s"."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}/s" if value >= 10 or value == 0 else f"{value:.2g}/s"
