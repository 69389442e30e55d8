"""Numbers of many readings: quantiles, slopes, gaps. Pure."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

MOST_POINTS = 400
"""A slope looks at every pair of points; of more of them, evenly spaced ones are taken."""


class Point(NamedTuple):
    """`at` in seconds."""

    at: float
    value: float


def quantile(values: Sequence[float], q: float) -> float | None:
    """The smallest value that at least the share q does not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-q * len(ordered) // 1) - 1))]


def slope(points: Sequence[Point]) -> float | None:
    """Per hour: the median of the slopes of all pairs (Theil 1950, Sen 1968), which one step or a
    few outliers do not move as they move a least-squares line. None under three points."""
    few = _thinned(points)
    if len(few) < 3:
        return None
    slopes = [
        (later.value - earlier.value) / (later.at - earlier.at)
        for place, earlier in enumerate(few)
        for later in few[place + 1 :]
        if later.at > earlier.at
    ]
    return median(slopes) * 3600 if slopes else None


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    if len(points) <= MOST_POINTS:
        return points
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(number * step)] for number in range(MOST_POINTS)]


def ends(points: Sequence[Point]) -> tuple[float, float] | None:
    """Medians of the first and of the last quarter; None under four points."""
    quarter = len(points) // 4
    if not quarter:
        return None
    first, last = points[:quarter], points[-quarter:]
    return median(each.value for each in first), median(each.value for each in last)


def after(points: Iterable[Point], at: float) -> list[Point]:
    return [each for each in points if each.at >= at]


class Span(NamedTuple):
    """Seconds of one clock."""

    begin: float
    end: float

    def meets(self, other: "Span") -> bool:
        return self.begin < other.end and other.begin < self.end


def gaps(times: Sequence[float], interval: float, away: Sequence[Span] = ()) -> int:
    """How many ticks, one every `interval`, are missing between the first and the last of `times`;
    those between two that something of `away` explains do not count."""
    lost = 0
    for before, now in pairwise(times):
        missing = round((now - before) / interval) - 1
        if missing > 0 and not any(each.meets(Span(before, now)) for each in away):
            lost += missing
    return lost
