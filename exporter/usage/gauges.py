"""The usage gauges: at each tick, every configured name's value over the slow tier's store.

Owns what moves along with the ticks; knows no clock and no file. The answers are rounded to a
hundredth of a percent here, once: /metrics, /statistics and whoever decides see the same number.
"""

from array import array
from collections.abc import Iterable, MutableMapping

from exporter.usage.grammar import AVG_SECONDS, RESOURCES, UsageName
from exporter.usage.running import Extreme, Mean, Quantile, Running, Trailing
from exporter.usage.series import Series
from exporter.usage.store import Store

USAGE = {resource: Series(f"node.{resource}.usage", "gauge") for resource in RESOURCES}
"""Percent; sources give these."""
AVERAGE = {resource: Series(f"node.{resource}.usage_avg_5m", "gauge") for resource in RESOURCES}
"""Their means over 5 minutes at each tick, a series of its own so that maxima need no means."""
DECIMALS = 2


class Gauges:
    """`names` in the order in which they are shown. A window that is longer than what the store
    keeps would not be what its name says: it is left out."""

    def __init__(self, store: Store, retention: float, names: Iterable[UsageName]) -> None:
        self._names = [name for name in names if name.window <= retention]
        self._averages = {
            resource: Trailing(store, USAGE[resource], AVG_SECONDS, Mean())
            for resource in RESOURCES
        }
        self._trailing = {
            name: Trailing(store, _series(name), name.window, _running(name))
            for name in self._names
            if name.function != "active" and not _is_average(name)
        }
        store.keep([*USAGE.values(), *AVERAGE.values()])

    def advance(self, elapsed: float, values: MutableMapping[Series, float]) -> dict[str, float]:
        """The gauges at a tick whose row, with these `values`, is about to be written; the means
        are added to them. What is unknown is not in the answer."""
        stored = {
            series: _as_float32(values[series]) for series in USAGE.values() if series in values
        }
        for resource, trailing in self._averages.items():
            mean = trailing.advance(elapsed, stored.get(USAGE[resource]))
            if mean is not None:
                stored[AVERAGE[resource]] = _as_float32(mean)
        values.update(stored)
        shown: dict[str, float] = {}
        for name in self._names:
            trailing_or_none = self._trailing.get(name)
            if trailing_or_none is not None:
                answer = trailing_or_none.advance(elapsed, stored.get(_series(name)))
            else:
                source = AVERAGE if _is_average(name) else USAGE
                answer = stored.get(source[name.resource])
            if answer is not None:
                shown[name.name] = round(answer, DECIMALS)
        return shown


def _is_average(name: UsageName) -> bool:
    return name.function == "avg" and name.window == AVG_SECONDS


def _series(name: UsageName) -> Series:
    return (AVERAGE if name.function == "max_avg" else USAGE)[name.resource]


def _running(name: UsageName) -> Running:
    match name.function:
        case "min":
            return Extreme(-1)
        case "max" | "max_avg":
            return Extreme(1)
        case "p95":
            return Quantile(0.95)
    return Mean()


def _as_float32(value: float) -> float:
    return array("f", [value])[0]
