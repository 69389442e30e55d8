"""Names of usage gauges."""

import pytest

from exporter.usage.grammar import BUILT_IN, NODE_METRICS, default_names, parse, parse_window


@pytest.mark.parametrize(
    ("name", "resource", "function", "window"),
    [
        ("cpu_usage_active", "cpu", "active", 0.0),
        ("mem_usage_avg_5m", "mem", "avg", 300.0),
        ("disk_usage_min_1h30m", "disk", "min", 5400.0),
        ("disk_io_usage_max_90s", "disk_io", "max", 90.0),
        ("net_usage_p95_1d", "net", "p95", 86400.0),
        ("steal_usage_max_avg_1h", "steal", "max_avg", 3600.0),
    ],
)
def test_a_name_says_what_is_computed(
    name: str, resource: str, function: str, window: float
) -> None:
    assert parse(name) == (name, resource, function, window)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "no such metric"),
        ("node_cpu_usage_active", "no such metric"),
        ("cpu_usage", "no such metric"),
        ("cpu_usage_avg", "no such metric"),
        ("cpu_usage_active_5m", "no such metric"),
        ("gpu_usage_avg_5m", "no such metric"),
        ("cpu_usage_p99_5m", "no such metric"),
        ("cpu_usage_avg_5", "no such metric"),
        ("cpu_usage_avg_5m\n", "no such metric"),
        ("cpu_usage_avg_0s", "no such window"),
        ("cpu_usage_max_avg_4m", "window too short for a maximum of 5-minute means"),
    ],
)
def test_an_impossible_name_is_refused(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(name)


def test_every_default_name_is_possible_and_node_metrics_eight_are_among_them() -> None:
    assert [parse(name).name for name in default_names()] == list(default_names())
    assert set(NODE_METRICS) <= set(default_names())
    assert NODE_METRICS[: len(BUILT_IN)] == (
        "cpu_usage_active", "cpu_usage_avg_5m", "cpu_usage_max_avg_1h", "cpu_usage_max_avg_1d",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "5", "m", "0s", "-5m", "5m ", "5 m", "1y", "ns", "5m/2"])
def test_a_window_is_a_duration_in_seconds_to_days(text: str) -> None:
    with pytest.raises(ValueError, match="no window"):
        parse_window(text)
    assert parse_window("1h30m") == 5400.0
