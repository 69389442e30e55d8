"""/statistics and the node_* gauges, as node-metrics writes them."""

import json
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from exporter.errors import NoData
from exporter.usage.node import KUBELET_AVAILABLE
from exporter.usage.series import Series, TierName
from exporter.usage.statistics import UsageCollector, statistics_json, to_json


class Shown:
    """A Usage that shows what it is given."""

    def __init__(
        self, values: Mapping[str, float], latest: Mapping[Series, float] | None = None
    ) -> None:
        self._values, self._latest = values, latest or {}

    def values(self) -> Mapping[str, float]:
        return self._values

    def statistics(self) -> Mapping[str, float]:
        return self._values

    def over(self, text: str) -> Mapping[str, float]:
        return {f"cpu_usage_avg_{text}": 1.0}

    def latest(self, tier: TierName) -> Mapping[Series, float]:
        return self._latest

    def problems(self, tier: TierName) -> Mapping[str, str]:
        return {}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "{}"),
        ({"cpu_usage_active": 6.8}, '{"cpu_usage_active":6.80}'),
        (
            {"cpu_usage_active": 100.0, "mem_usage_active": 0.0},
            '{"cpu_usage_active":100.00,"mem_usage_active":0.00}',
        ),
        ({"cpu_usage_active": 2 / 3 * 100}, '{"cpu_usage_active":66.67}'),
        ({"a": float("nan"), "b": float("inf"), "c": 1.0}, '{"c":1.00}'),
    ],
)
def test_values_have_two_decimals_and_what_is_unknown_is_missing(
    values: dict[str, float], text: str
) -> None:
    assert to_json(values) == text
    json.loads(text)


def test_a_window_shows_what_is_asked_for() -> None:
    assert statistics_json(Shown({"cpu_usage_active": 6.8})) == '{"cpu_usage_active":6.80}'
    assert statistics_json(Shown({}), "15m") == '{"cpu_usage_avg_15m":1.00}'


def test_the_gauges_have_node_metrics_names_and_help() -> None:
    registry = CollectorRegistry(auto_describe=False)
    shown = Shown({"cpu_usage_active": 6.8, "mem_usage_avg_5m": 25.0}, {KUBELET_AVAILABLE: 4096.0})
    registry.register(UsageCollector(shown))
    assert generate_latest(registry).decode() == (
        "# HELP node_cpu_usage_active cpu usage active.\n"
        "# TYPE node_cpu_usage_active gauge\n"
        "node_cpu_usage_active 6.8\n"
        "# HELP node_mem_usage_avg_5m mem usage avg 5m.\n"
        "# TYPE node_mem_usage_avg_5m gauge\n"
        "node_mem_usage_avg_5m 25.0\n"
        "# HELP node_memory_available_kubelet_bytes "
        "memory.available as kubelet reckons it, by which it evicts pods.\n"
        "# TYPE node_memory_available_kubelet_bytes gauge\n"
        "node_memory_available_kubelet_bytes 4096.0\n"
    )


def test_one_unknown_value_leaves_the_other() -> None:
    families = list(UsageCollector(Shown({"mem_usage_active": 25.0})).collect())
    assert [family.name for family in families] == ["node_mem_usage_active"]


def test_before_the_first_sample_there_is_nothing_and_that_is_no_failure() -> None:
    with pytest.raises(NoData, match="no sample yet"):
        list(UsageCollector(Shown({})).collect())
