"""Crane's policy as its users have it, and the annotations that its scheduler reads."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from exporter.config import Duration
from exporter.config.agent import Usage
from exporter.errors import ConfigError
from exporter.pressure.annotations import (
    Due,
    Hot,
    as_annotation,
    check_policy,
    hot_annotation,
    hot_value,
    read_policy,
)
from exporter.usage.history import names_of

POLICY = Path(__file__).parent / "crane-policy.yaml"
SHANGHAI = ZoneInfo("Asia/Shanghai")
WALL = 1_136_214_245.0  # 2006-01-02T15:04:05 UTC


def test_a_policy_is_read_as_crane_s_users_have_it() -> None:
    spec = read_policy(POLICY).spec
    assert {each.name: float(each.period) for each in spec.sync_policy} == {
        "cpu_usage_avg_5m": 180.0,
        "cpu_usage_max_avg_1h": 900.0,
        "cpu_usage_max_avg_1d": 10800.0,
        "mem_usage_avg_5m": 180.0,
        "mem_usage_max_avg_1h": 900.0,
        "mem_usage_max_avg_1d": 10800.0,
    }
    assert [each.max_limit for each in spec.predicate] == [0.65, 0.75, 0.0]
    assert [each.weight for each in spec.priority] == [0.2, 0.5]
    assert [(float(each.time_range), each.count) for each in spec.hot_value] == [(300, 5), (60, 2)]


def test_the_policy_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/scheduling.md").read_text()
    block = "apiVersion" + text.partition("```yaml\napiVersion")[2].partition("```")[0]
    path = tmp_path / "policy.yaml"
    path.write_text(block)
    assert check_policy(path, names_of(Usage())) == []


def test_all_that_is_wrong_with_a_policy_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        """\
apiVersion: scheduler.policy.crane.io/v1alpha2
kind: DynamicSchedulerPolicy
spec:
  syncPolicy:
    - {name: cpu_usage_avg_5m, period: 0s}
    - {name: mem_usage_avg_5m, period: soon}
  predicate:
    - {name: cpu_usage_avg_5m, maxLimitPercent: 0.65}
    - {name: mem_usage_avg_5m, maxLimitPecent: 65}
  hotValue:
    - {timeRange: 5m, count: 0}
"""
    )
    with pytest.raises(ConfigError) as caught:
        read_policy(path)
    assert [str(each._replace(file="f")).split(", want")[0] for each in caught.value.problems] == [
        'f:1: apiVersion: unknown value, got "scheduler.policy.crane.io/v1alpha2"',
        "f:5: spec.syncPolicy[0].period: too short, got 0s",
        'f:6: spec.syncPolicy[1].period: not a duration, got "soon"',
        "f:8: spec.predicate[0].maxLimitPercent: unknown key (did you mean maxLimitPecent?)",
        "f:9: spec.predicate[1].maxLimitPecent: too large, got 65",
        "f:11: spec.hotValue[0].count: too small, got 0",
    ]


def test_one_annotation_has_one_period(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        POLICY.read_text().replace("name: cpu_usage_max_avg_1d", "name: cpu_usage_avg_5m")
    )
    with pytest.raises(ConfigError, match=r":10: spec\.syncPolicy\[2\]\.name: is there twice"):
        read_policy(path)


@pytest.mark.parametrize(
    ("percent", "zone", "text"),
    [
        (6.8, "Asia/Shanghai", "0.06800,2006-01-02T23:04:05Z"),
        (100.0, "UTC", "1.00000,2006-01-02T15:04:05Z"),
        (0.0, "America/New_York", "0.00000,2006-01-02T10:04:05Z"),
        (12.345678, "UTC", "0.12346,2006-01-02T15:04:05Z"),
    ],
)
def test_a_value_is_a_fraction_and_the_time_in_its_zone(
    percent: float, zone: str, text: str
) -> None:
    assert as_annotation(percent, WALL, ZoneInfo(zone)) == text


def test_no_number_is_no_annotation() -> None:
    with pytest.raises(ValueError, match="no number"):
        as_annotation(float("nan"), WALL, SHANGHAI)


@pytest.mark.parametrize(
    ("ages", "hot"),
    [
        ([], 0),
        ([1], 0),
        ([1, 60], 1),
        ([1, 61], 0),
        ([200] * 4, 0),
        ([200] * 5, 1),
        ([1, 2, 3, 4, 5], 3),  # 5 of 5 m, 5 // 2 of 1 m
        ([1, 2, 3, 100, 301], 1),
    ],
)
def test_each_so_many_pods_bound_of_late_make_a_node_hotter(ages: list[float], hot: int) -> None:
    rules = (Hot(Duration("5m"), 5), Hot(Duration("1m"), 2))
    assert hot_value([1000.0 - age for age in ages], 1000.0, rules) == hot


def test_the_hot_value_is_a_whole_number() -> None:
    assert hot_annotation(3, WALL, SHANGHAI) == "3,2006-01-02T23:04:05Z"


def test_each_annotation_is_due_at_its_own_period() -> None:
    periods = {"a": 180.0, "b": 900.0}
    due = Due()
    assert due.names(0.0, periods) == ("a", "b")
    due = due.after(("a", "b"), 0.0)
    assert due.names(179.0, periods) == ()
    assert due.names(180.0, periods) == ("a",)
    assert due.after(("a",), 180.0).names(900.0, periods) == ("a", "b")


def test_a_policy_s_metadata_is_nobody_s_business_here(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "apiVersion: scheduler.policy.crane.io/v1alpha1\nkind: DynamicSchedulerPolicy\n"
        "metadata: {name: x, labels: {a: b}, managedFields: [{manager: c}]}\n"
        "spec: {syncPolicy: [{name: cpu_usage_avg_5m, period: 3m}]}\n"
    )
    assert [each.name for each in read_policy(path).spec.sync_policy] == ["cpu_usage_avg_5m"]
