"""How long a condition has held: what detectors share. Pure.

The rule: a sample at which it cannot be told breaks the run, and so does a gap, for what was not
seen did not hold; one or two readings that were missed are no gap.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from exporter.errors import NoData
from exporter.interference.model import View
from exporter.usage.window import Window

_GAP_SPANS = 3.0


class Run(NamedTuple):
    """Samples in a row up to the newest at which it held, and the elapsed second of the first."""

    samples: int
    since: float


def run_of(samples: Sequence[tuple[float, bool | None]]) -> Run | None:
    """`samples` by elapsed, ascending. None where it does not hold at the newest. A gap of more
    than three times what is usual between them breaks it as well."""
    count, since = 0, 0.0
    steps = sorted(b[0] - a[0] for a, b in pairwise(samples))
    longest = _GAP_SPANS * steps[len(steps) // 2] if steps else float("inf")
    for elapsed, held in reversed(samples):
        if held is not True or (count and since - elapsed > longest):
            break
        count, since = count + 1, elapsed
    return Run(count, since) if count else None


def aligned(windows: Mapping[str, Window]) -> list[tuple[float, dict[str, float]]]:
    """What was known at each time that the most often read of them has: of those that are read
    less often, the last value, unless it is older than one and a half of its own spans."""
    grid = max(windows.values(), key=lambda window: len(window.elapsed), default=None)
    if grid is None:
        return []
    rows: list[tuple[float, dict[str, float]]] = [(elapsed, {}) for elapsed in grid.elapsed]
    for name, window in windows.items():
        at = -1
        for elapsed, known in rows:
            while at + 1 < len(window.elapsed) and window.elapsed[at + 1] <= elapsed:
                at += 1
            if at >= 0 and elapsed - window.elapsed[at] <= 1.5 * max(window.spans[at], 1e-9):
                known[name] = window.values[at]
    return rows


def weighted_mean(window: Window) -> float | None:
    """Over time: each value for as long as it covers. None where it covers none."""
    seconds = sum(window.spans)
    if seconds <= 0:
        return None
    return sum(v * span for v, span in zip(window.values, window.spans, strict=True)) / seconds


def ending_at(window: Window, end: float, seconds: float) -> Window:
    """The part with end − seconds < elapsed ≤ end."""
    low, high = len(window.elapsed), 0
    for at, elapsed in enumerate(window.elapsed):
        if end - seconds < elapsed <= end:
            low, high = min(low, at), at + 1
    return Window(window.elapsed[low:high], window.spans[low:high], window.values[low:high])


def needed(view: View, signal: str, value: float | None, why: str = "") -> float:
    """Raises NoData where it is None."""
    if value is None:
        of = view.subject.name or "the node"
        raise NoData(f"{signal} of {of}: {why or 'no reading at this tick'}")
    return value
