"""Questions about a stretch of a series: mean, extremes, quantile, rate, ewma, max of means.

Pure functions over what was stored; they know no clock and no store. All answer None where the
window holds nothing, and over what there is where it is not full yet.

Time is the store's elapsed: monotonic, so that a step of the wall clock, a day either way, moves
nothing. A window of w seconds that ends at e holds what has e − w < elapsed ≤ e. Rows that were
not taken (a gap) are in no count and no sum: a mean is over samples as crane's avg_over_time is.
A counter's rows are deltas, each over its own `spans` seconds; those that are unknown (after a
reset, a gap or a restart) were never put in, and their seconds do not count either.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Window(NamedTuple):
    """Parallel: when (elapsed seconds, ascending), the seconds that each covers (since the row
    before it), and the values: a gauge's values, a counter's deltas. No NaN."""

    elapsed: Sequence[float]
    spans: Sequence[float]
    values: Sequence[float]


def mean(window: Window) -> float | None:
    return math.fsum(window.values) / len(window.values) if window.values else None


def minimum(window: Window) -> float | None:
    return min(window.values, default=None)


def maximum(window: Window) -> float | None:
    return max(window.values, default=None)


def quantile(window: Window, q: float) -> float | None:
    """Between the two nearest samples where it falls between them, as Prometheus'
    quantile_over_time does (linear, rank q·(n − 1)). `q` 0 to 1."""
    return quantile_of_sorted(sorted(window.values), q)


def quantile_of_sorted(values: Sequence[float], q: float) -> float | None:
    if not values:
        return None
    rank = q * (len(values) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (rank - below)


def rate(window: Window) -> float | None:
    """A counter's increase per second over the seconds that its known deltas cover. None where
    they cover none."""
    seconds = math.fsum(window.spans)
    return math.fsum(window.values) / seconds if seconds > 0 else None


def per_second(window: Window) -> Window:
    """A counter's deltas as a gauge: the rate of each interval, for what asks about gauges."""
    known = [row for row in zip(*window, strict=True) if row[1] > 0]
    return Window(
        [elapsed for elapsed, _, _ in known],
        [span for _, span, _ in known],
        [value / span for _, span, value in known],
    )


def ewma(window: Window, half_life: float) -> float | None:
    """Mean in which a sample weighs half as much for each `half_life` seconds of its age against
    the newest. By age and not by count, so that a gap ages what is before it."""
    if not window.values:
        return None
    newest = window.elapsed[-1]
    weights = [2.0 ** ((elapsed - newest) / half_life) for elapsed in window.elapsed]
    total = math.fsum(weight * value for weight, value in zip(weights, window.values, strict=True))
    return total / math.fsum(weights)


def max_of_mean(window: Window, seconds: float) -> float | None:
    """The largest that the mean over `seconds` was at any sample of the window: means near its
    beginning are over what the window holds, so give one that is longer by `seconds` and
    restrict it with `after` where what was before shall count."""
    return maximum(means(window, seconds))


def means(window: Window, seconds: float) -> Window:
    """At each sample the mean over the `seconds` that end there."""
    out: list[float] = []
    first = 0
    for index, elapsed in enumerate(window.elapsed):
        while window.elapsed[first] <= elapsed - seconds:
            first += 1
        part = window.values[first : index + 1]
        out.append(math.fsum(part) / len(part))
    return Window(window.elapsed, window.spans, out)


def after(window: Window, elapsed: float) -> Window:
    """What is later than `elapsed`."""
    start = next((i for i, at in enumerate(window.elapsed) if at > elapsed), len(window.elapsed))
    return Window(window.elapsed[start:], window.spans[start:], window.values[start:])
