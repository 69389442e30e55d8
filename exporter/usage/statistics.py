"""The node's usage as others read it: /statistics (JSON) and the node_* gauges.

Both show the values that they are given, whoever computed them: the number on /metrics is the
number that decides. Names, HELP texts and the JSON form are node-metrics' (FORMATS section 3).
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from prometheus_client import Metric

from exporter.errors import KernmeshError, NoData
from exporter.metrics.gotext import GoTexts
from exporter.metrics.table import Column, FastFamily, Lines, Shape
from exporter.usage.node import KUBELET_AVAILABLE
from exporter.usage.series import Series, TierName


class Usage(Protocol):
    """What History is to those who show it. What is unknown is in none of its answers."""

    def values(self) -> Mapping[str, float]:
        """Percent by name less `node_` ("cpu_usage_active")."""

    def statistics(self) -> Mapping[str, float]:
        """Those of them that /statistics shows."""

    def over(self, text: str) -> Mapping[str, float]:
        """Percent by name over a window ("15m"). Raises ValueError for what is none."""

    def latest(self, tier: TierName) -> Mapping[Series, float]:
        """What the newest tick read."""

    def problems(self, tier: TierName) -> Mapping[str, str]:
        """Why, by source, of what the newest tick could not read."""


def tell(usage: Usage) -> None:
    """Raises KernmeshError where a source of the slow tier could not be read: whoever shows what
    is known calls it last, so that nothing of that is lost."""
    problems = usage.problems("slow")
    if problems:
        raise KernmeshError("; ".join(f"{name}: {why}" for name, why in sorted(problems.items())))


def statistics_json(usage: Usage, window: str | None = None) -> str:
    """One object, each value with exactly two decimals as node-metrics writes it; "{}" while
    nothing is known. `window` is what the query says; raises ValueError where that is none."""
    return to_json(usage.statistics() if window is None else usage.over(window))


def to_json(values: Mapping[str, float]) -> str:
    """JSON has no NaN, so a value that is no number is left out."""
    known = ((name, value) for name, value in values.items() if math.isfinite(value))
    return "{" + ",".join(f'"{name}":{value:.2f}' for name, value in known) + "}"


class UsageCollector:
    """Gauges node_<name>, percent 0 to 100, no labels; "cpu usage active." is their HELP. And
    the memory that kubelet reckons with, in bytes."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._kept: dict[str, tuple[Shape, Lines, GoTexts]] = {}

    def collect(self) -> Iterable[Metric]:
        """Raises NoData before the first sample, KernmeshError (after what is known) where a source
        cannot be read. A value that is unknown gives no family."""
        return self._collect(None)

    def collect_names(self, names: Collection[str]) -> Iterable[Metric]:
        """Those of them; raises as `collect` does."""
        return self._collect(names)

    def _collect(self, names: Collection[str] | None) -> Iterable[Metric]:
        values = self._usage.values()
        if not values:
            tell(self._usage)
            raise NoData("no sample yet: the first one comes a second after the start")
        for name, value in values.items():
            if names is not None and f"node_{name}" not in names:
                continue
            yield self._family(f"node_{name}", f"{name.replace('_', ' ')}.", value)
        available = self._usage.latest("slow").get(KUBELET_AVAILABLE)
        if available is not None:
            text = "memory.available as kubelet reckons it, by which it evicts pods."
            yield self._family("node_memory_available_kubelet_bytes", text, available)
        tell(self._usage)

    def _family(self, name: str, text: str, value: float) -> Metric:
        if name not in self._kept:
            shape = Shape("gauge", name, text)
            self._kept[name] = shape, Lines(list(shape.lines(()))), GoTexts(exact=False)
        shape, lines, texts = self._kept[name]
        return FastFamily(shape, lines, (Column([value], texts),))
