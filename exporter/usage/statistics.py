"""The node's usage as others read it: /statistics (JSON) and the node_* gauges.

Both show the values that they are given, whoever computed them: the number on /metrics is the
number that decides. Names, HELP texts and the JSON form are node-metrics' (FORMATS section 3).
"""

import math
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily

from exporter.errors import NoData

Values = Callable[[], Mapping[str, float]]
"""Percent by name less `node_` ("cpu_usage_active"); what is unknown is not in it."""


def statistics_json(values: Mapping[str, float]) -> str:
    """One object, each value with exactly two decimals as node-metrics writes it; "{}" while
    nothing is known. JSON has no NaN, so a value that is no number is left out."""
    known = ((name, value) for name, value in values.items() if math.isfinite(value))
    return "{" + ",".join(f'"{name}":{value:.2f}' for name, value in known) + "}"


class UsageCollector:
    """Gauges node_<name>, percent 0 to 100, no labels; "cpu usage active." is their HELP."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Raises NoData before the first sample. A value that is unknown gives no family."""
        values = self._values()
        if not values:
            raise NoData("no sample yet: the first one comes a second after the start")
        for name, value in values.items():
            yield GaugeMetricFamily(f"node_{name}", f"{name.replace('_', ' ')}.", value)
