"""Usage over an hour and a day as points at equal distances, for pages.

The rule: a point is the mean over its stretch of what was sampled there; where nothing was, it is
None. Reads the store through History's windows, and knows no page.
"""

import math
from collections.abc import Mapping

from exporter.clock import Clock
from exporter.host.psi import RESOURCES as PRESSED
from exporter.pages.section import Chart, Points
from exporter.usage.gauges import USAGE
from exporter.usage.history import STALE_INTERVALS, History
from exporter.usage.series import Series
from exporter.usage.window import Window, per_second

POINTS = 120
SPANS: tuple[tuple[str, float], ...] = (("last hour", 3600.0), ("last 24 hours", 86400.0))
_NAMES = {
    "cpu": "CPU",
    "mem": "Memory",
    "disk": "Filesystem, the fullest",
    "disk_io": "Disk, busy",
    "net": "Network, the busiest link",
    "steal": "CPU, stolen",
}


def charts(history: History, clock: Clock) -> tuple[Chart, ...]:
    """Blocks for as long as copying a day of nine series takes: some 50 ms."""
    wanted = [(name, USAGE[resource], 1.0) for resource, name in _NAMES.items()]
    wanted += [
        (f"Waiting for {each} (PSI)", Series(f"node.psi.{each}.some_seconds", "counter"), 100.0)
        for each in PRESSED
    ]
    tier = history.tier("slow")
    if tier is None:
        return tuple(Chart(name, None, _spread(Window((), (), ()), 0, 1)) for name, _, _ in wanted)
    end, interval = tier.store.elapsed_at(clock.monotonic()), tier.store.shape.interval
    found = []
    for name, series, factor in wanted:
        known = history.window("slow", series, max(seconds for _, seconds in SPANS))
        if series.kind == "counter":
            known = per_second(known)
        known = known._replace(values=[value * factor for value in known.values])
        fresh = bool(known.elapsed) and end - known.elapsed[-1] <= STALE_INTERVALS * interval
        now = known.values[-1] if fresh else None
        found.append(Chart(name, now, _spread(known, end, interval)))
    return tuple(found)


def _spread(window: Window, end: float, interval: float) -> Mapping[str, Points]:
    return {name: points(window, end, seconds, interval) for name, seconds in SPANS}


def points(window: Window, end: float, seconds: float, interval: float) -> Points:
    """The `seconds` that end at `end`, as POINTS means, or as many as have two samples each."""
    count = max(2, min(POINTS, int(seconds / (2 * interval))))
    sums, numbers = [0.0] * count, [0] * count
    for elapsed, value in zip(window.elapsed, window.values, strict=True):
        place = math.ceil((elapsed - end + seconds) / seconds * count) - 1
        if 0 <= place < count:
            sums[place] += value
            numbers[place] += 1
    return tuple(
        total / number if number else None for total, number in zip(sums, numbers, strict=True)
    )
