"""The rules that need no file: they are read as any other, and told victims from bystanders.

Replayed over made-up seconds that look as measured ones did (docs/interference-detectors.md).
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.errors import NoData
from exporter.interference.model import Subject
from exporter.interference.node_facts import NodeFacts
from exporter.interference.rules import read_rules
from exporter.interference.signals import OFFLINE_WAIT_MEASURES, WAIT_MEASURES
from exporter.interference.views import replay
from exporter.interference.waits import BOUNDS_MICROSECONDS
from exporter.usage import store as stores
from exporter.usage.series import Series
from exporter.usage.store import Now, Store

FILE = Path(__file__).parents[2] / "exporter/interference/default_rules.yaml"
PATH = "online/v"
VICTIM = Subject("container", f"/{PATH}", work="online")
QUIET, SECONDS = 30, 20
Rates = Mapping[str, float]

USUAL: dict[str, float] = {
    "cpu_seconds": 0.05, "throttled_seconds": 0.0, "throttled_periods": 0.0,
    "cpu_full_seconds": 0.06, "memory_some_seconds": 0.0, "io_some_seconds": 0.0,
    "runq_wait_seconds": 0.06, "waited_for_offline_seconds": 0.007, "runq_waits": 160.0,
    "waits of 128": 150.0, "waits of 2048": 10.0, "offline of 128": 40.0, "offline of 2048": 1.5,
    "offline cpu": 0.11, "offline io": 0.0,
}  # fmt: skip


def recorded(then: Rates) -> Store:
    """Half a minute as usual, then so."""
    found = stores.in_memory(1.0, 900.0, Now(0.0, 0.0, ""))
    totals: dict[Series, float] = {}
    for second in range(1, QUIET + SECONDS + 1):
        rates = {**USUAL, **(then if second > QUIET else {})}
        row: dict[Series, float] = {
            Series("class/offline.working_set_bytes", "gauge"): 5e8,
            Series(f"cgroup/{PATH}.pids", "gauge"): 5.0,
        }
        for name, rate in per_second(rates).items():
            series = Series(name, "counter")
            row[series] = totals[series] = totals.get(series, 0.0) + rate
        found.put(float(second), 0.0, row)
    return found


def per_second(rates: Rates) -> dict[str, float]:
    thing = f"cgroup/{PATH}"
    found = {
        "class/offline.cpu_seconds": rates["offline cpu"],
        "class/offline.read_bytes": 0.0,
        "class/offline.written_bytes": rates["offline io"],
    }
    for kind, measures in (("waits", WAIT_MEASURES), ("offline", OFFLINE_WAIT_MEASURES)):
        for bound, measure in zip(BOUNDS_MICROSECONDS, measures, strict=True):
            found[f"{thing}.{measure}"] = rates.get(f"{kind} of {bound}", 0.0)
    plain = (name for name in rates if " " not in name)
    found.update((f"{thing}.{name}", rates[name]) for name in plain)
    return found


def fired(recording: Store) -> dict[str, float]:
    """By rule: how many seconds after the change the first of its entries held."""
    rules = read_rules(FILE, NodeFacts.of(2.0, 8e9)).set.rules
    found: dict[str, float] = {}
    for moment in replay(recording):
        view = moment.view(VICTIM)
        for rule in rules:
            for entry in rule.entries:
                held = False
                try:
                    of_all = [each.evaluate(view) for each in entry.all_of]
                    of_any = [each.evaluate(view) for each in entry.any_of]
                    held = None not in of_all and (not of_any or any(of_any))
                except NoData:
                    continue
                if held:
                    found.setdefault(rule.name, moment.now - recording.elapsed(QUIET - 1))
    return found


@pytest.mark.parametrize(
    ("then", "rules"),
    [
        ({}, set()),
        # antagonists, as measured
        (
            {
                "waited_for_offline_seconds": 0.3,
                "runq_wait_seconds": 0.6,
                "offline of 8192": 40.0,
                "waits of 8192": 50.0,
                "offline cpu": 1.8,
            },
            {"cpu"},
        ),
        ({"cpu_full_seconds": 0.8, "runq_waits": 3.0, "waits of 128": 3.0, "waits of 2048": 0.0,
          "offline of 128": 0.0, "offline of 2048": 0.0, "offline cpu": 1.8}, {"cpu"}),
        ({"memory_some_seconds": 0.2, "offline cpu": 1.0}, {"memory"}),
        ({"io_some_seconds": 0.6, "offline io": 2e8}, {"io"}),
        ({"waited_for_offline_seconds": 0.02, "offline cpu": 1.8}, {"cpu"}),  # many short waits
        # and what must not alarm: waits of one that uses next to no CPU; its own load,
        ({"waited_for_offline_seconds": 0.006, "cpu_seconds": 0.002, "offline cpu": 1.8}, set()),
        ({"cpu_seconds": 0.1, "cpu_full_seconds": 0.12, "runq_waits": 320.0, "waits of 128": 300.0,
          "waits of 2048": 20.0, "offline of 128": 80.0, "offline of 2048": 2.8}, set()),
        ({"offline cpu": 0.6, "offline of 128": 60.0}, set()),  # busy, and no harm
        ({"io_some_seconds": 0.9}, set()),  # a cold cache
        ({"throttled_seconds": 0.7, "throttled_periods": 10.0, "cpu_full_seconds": 0.75,
          "runq_wait_seconds": 0.75, "waits of 65536": 20.0, "offline cpu": 0.6}, set()),
    ],
)  # fmt: skip
def test_who_is_hurt_by_offline_work_is_found_and_nobody_else(then: Rates, rules: set[str]) -> None:
    found = fired(recorded(then))
    assert found.keys() == rules
    assert all(0 < after <= 5 for after in found.values())


def test_they_are_read_without_a_warning() -> None:
    rules = read_rules(FILE, NodeFacts.of(2.0, 8e9))
    assert rules.set.warnings == ()
    assert {rule.work for rule in rules.set.rules} == {"online"}
