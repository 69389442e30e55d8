"""The usage gauges, by samples that can be reckoned by hand."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from exporter.usage.gauges import AVERAGE, USAGE, Gauges
from exporter.usage.grammar import default_names, parse
from exporter.usage.series import Series
from exporter.usage.store import Now, Store, in_memory, open_file

DAY = 86400.0
CPU = USAGE["cpu"]
START = Now(100.0, 1e9, "boot")


class Machine:
    """Ticks every 10 s."""

    def __init__(self, store: Store, names: Sequence[str], at: float = START.monotonic) -> None:
        self.store, self.at = store, at
        self.gauges = Gauges(store, DAY, [parse(name) for name in names])
        self.shown: dict[str, float] = {}

    def tick(self, *values: float | None) -> dict[str, float]:
        for value in values:
            sample: dict[Series, float] = {} if value is None else {CPU: value}
            self.shown = self.gauges.advance(self.store.elapsed_at(self.at), sample)
            self.store.put(self.at, 0.0, sample)
            self.at += 10.0
        return self.shown


@pytest.fixture
def machine() -> Machine:
    names = (
        *("cpu_usage_active", "cpu_usage_avg_5m", "cpu_usage_max_avg_1h", "cpu_usage_p95_15m"),
        *("cpu_usage_min_15m", "cpu_usage_max_15m", "cpu_usage_avg_1h", "mem_usage_active"),
    )
    return Machine(in_memory(10.0, DAY, START), names)


def test_before_a_window_is_full_it_is_over_what_there_is(machine: Machine) -> None:
    assert machine.tick(40.0) == dict.fromkeys(
        ("cpu_usage_active", "cpu_usage_avg_5m", "cpu_usage_max_avg_1h", "cpu_usage_p95_15m",
         "cpu_usage_min_15m", "cpu_usage_max_15m", "cpu_usage_avg_1h"), 40.0,
    )  # fmt: skip
    assert machine.tick(60.0)["cpu_usage_avg_5m"] == 50.0


def test_max_avg_is_the_largest_mean_of_five_minutes_and_not_the_largest_sample(
    machine: Machine,
) -> None:
    shown = machine.tick(*[10.0] * 60, 100.0, *[10.0] * 60)
    assert shown["cpu_usage_max_avg_1h"] == 13.0
    assert (shown["cpu_usage_max_15m"], shown["cpu_usage_avg_5m"]) == (100.0, 10.0)


def test_what_is_over_an_hour_old_is_forgotten(machine: Machine) -> None:
    assert machine.tick(*[90.0] * 30)["cpu_usage_max_avg_1h"] == 90.0
    assert machine.tick(*[10.0] * 359)["cpu_usage_max_avg_1h"] > 80.0
    assert machine.tick(*[10.0] * 30)["cpu_usage_max_avg_1h"] == 10.0


def test_an_unknown_sample_is_missing_and_its_windows_go_on(machine: Machine) -> None:
    machine.tick(20.0, 40.0)
    shown = machine.tick(None)
    assert "cpu_usage_active" not in shown
    assert shown["cpu_usage_avg_5m"] == 30.0


def test_after_an_hour_without_any_the_windows_of_it_are_missing_too(machine: Machine) -> None:
    machine.tick(20.0)
    shown = machine.tick(*[None] * 400)
    assert shown == {}
    assert machine.tick(50.0)["cpu_usage_max_avg_1h"] == 50.0


def test_a_fully_busy_machine_is_a_hundred_percent_everywhere(machine: Machine) -> None:
    assert set(machine.tick(*[100.0] * 100).values()) == {100.0}


def test_a_window_that_is_longer_than_what_is_kept_is_left_out() -> None:
    store = in_memory(10.0, 3600.0, START)
    gauges = Gauges(store, 3600.0, [parse(name) for name in default_names()])
    shown = gauges.advance(10.0, {CPU: 1.0})
    assert set(shown) == {"cpu_usage_active", "cpu_usage_avg_5m", "cpu_usage_max_avg_1h"}


def test_after_a_restart_every_gauge_is_what_it_would_have_been(tmp_path: Path) -> None:
    names = [*default_names(), "cpu_usage_p95_1d", "cpu_usage_avg_1d", "cpu_usage_min_1h"]
    load = [37.0 + 60.0 * (tick % 97 == 0) + tick / 7 % 9 for tick in range(1500)]
    throughout = Machine(in_memory(10.0, DAY, START), names)
    path = tmp_path / "slow.usage"
    store, _ = open_file(path, 10.0, DAY, START)
    first = Machine(store, names)
    throughout.tick(*load[:1000])
    first.tick(*load[:1000])
    store.close()
    store, _ = open_file(path, 10.0, DAY, START._replace(monotonic=first.at - 1))
    second = Machine(store, names, at=first.at)
    assert second.tick(*load[1000:]) == throughout.tick(*load[1000:])
    assert second.shown["cpu_usage_max_avg_1d"] > 37.0
    store.close()


def test_the_mean_is_a_series_of_its_own_that_others_may_ask_about(machine: Machine) -> None:
    machine.tick(20.0, 40.0)
    assert list(machine.store.window(AVERAGE["cpu"], DAY).values) == [20.0, 30.0]
