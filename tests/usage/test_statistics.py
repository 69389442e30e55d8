"""/statistics and the node_* gauges, as node-metrics writes them."""

import json

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from exporter.errors import NoData
from exporter.usage.statistics import UsageCollector, statistics_json


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
    assert statistics_json(values) == text
    json.loads(text)


def test_the_gauges_have_node_metrics_names_and_help() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(UsageCollector(lambda: {"cpu_usage_active": 6.8, "mem_usage_active": 25.0}))
    assert generate_latest(registry).decode() == (
        "# HELP node_cpu_usage_active cpu usage active.\n"
        "# TYPE node_cpu_usage_active gauge\n"
        "node_cpu_usage_active 6.8\n"
        "# HELP node_mem_usage_active mem usage active.\n"
        "# TYPE node_mem_usage_active gauge\n"
        "node_mem_usage_active 25.0\n"
    )


def test_one_unknown_value_leaves_the_other() -> None:
    families = list(UsageCollector(lambda: {"mem_usage_active": 25.0}).collect())
    assert [family.name for family in families] == ["node_mem_usage_active"]


def test_before_the_first_sample_there_is_nothing_and_that_is_no_failure() -> None:
    with pytest.raises(NoData, match="no sample yet"):
        list(UsageCollector(dict).collect())
