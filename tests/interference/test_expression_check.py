"""What is found wrong with an expression before it is asked, and what is not."""

import pytest

from exporter.interference.expression import parse
from exporter.interference.expression_check import check
from exporter.interference.model import Scope
from exporter.interference.variables import VARIABLES


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        ("node", "cpu_avg > 0.9"),
        ("node", "cpu_avg * 100 > 90"),
        ("node", "memory_available / memory_total < 0.1"),
        ("node", "memory_available < 2Gi && load_1min > 4 * 8"),
        ("node", "memory_total - memory_available > 0.9 * memory_total"),
        ("node", "$dev_diskio_util > 0.9 || netio_drop_in[eth0] > 100"),
        ("node", "!(cpu_avg > 0.5 == load_5min > 2)"),
        ("node", "cpu_steal_total / cpu_total > cpu_avg"),
        ("container", "load_avg > 2 * cpu_request"),
        ("container", "psi_cpu_some > 0.2 && cpu_throttled_ratio < 0.05"),
        ("container", "memory_total_usage > memory_limit - 1Gi"),
        ("app", "slo_min < 0.1"),
        ("app", "value[osd:latency] > 1.1 * slo[osd:latency] && slack < 0"),
        ("app", "slack < -0.5"),
    ],
)
def test_what_can_be_meant_is_no_complaint(scope: Scope, text: str) -> None:
    assert check(parse(text), scope) == []


@pytest.mark.parametrize(
    ("scope", "text", "kinds"),
    [
        ("node", "cpu_avg", "type"),
        ("node", "!cpu_avg", "type"),
        ("node", "cpu_avg && load_1min > 2", "type"),
        ("node", "0.2 < cpu_avg < 0.5", "type"),
        ("node", "-(cpu_avg > 0.5) < 1", "type"),
        ("node", "cpu_avg > 0.5 == 1", "type"),
        ("node", "nope > 1 && cpu_avg", "unknown type"),
        ("node", "cpu_usage > 1", "unknown"),
        ("node", "load_1min[sda] > 1", "unknown"),
        ("node", "$dev_cpu_avg > 0.1", "unknown"),
        ("node", "memory_available + load_1min > 1", "unit"),
        ("node", "memory_available < diskio_await", "unit"),
        ("node", "memory_available % diskio_await > 1", "unit"),
        ("node", "cpu_avg > 1", "range"),
        ("node", "cpu_avg >= 1.01", "range"),
        ("node", "cpu_avg <= 1", "range"),
        ("node", "cpu_avg == 2", "range"),
        ("node", "cpu_avg != -1", "range"),
        ("node", "cpu_avg * 100 > 100", "range"),
        ("node", "cpu_avg + cpu_avg > 2", "range"),
        ("node", "1 - cpu_avg < 0", "range"),
        ("node", "-cpu_avg > 0", "range"),
        ("node", "0 > memory_available", "range"),
        ("node", "1 > 0", "range"),
        ("node", "load_1min % 0 > 1", "range"),
        ("app", "slo_min > 1", "range"),
    ],
)
def test_what_cannot_be_meant_is_complained_of(scope: Scope, text: str, kinds: str) -> None:
    assert " ".join(complaint.kind for complaint in check(parse(text), scope)) == kinds


def test_a_variable_has_one_meaning_in_a_scope() -> None:
    names = [(variable.scope, variable.name) for variable in VARIABLES]
    assert len(names) == len(set(names))
