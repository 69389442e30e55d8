"""Points over an hour and a day are what was sampled then, and gaps where nothing was."""

import pytest

from exporter.config.agent import Usage
from exporter.hostfs import HostFs
from exporter.testing import FakeClock
from exporter.usage.charts import POINTS, charts, points
from exporter.usage.gauges import USAGE
from exporter.usage.history import History
from exporter.usage.series import Series, Source
from exporter.usage.window import Window

WAITED = Series("node.psi.cpu.some_seconds", "counter")


def window(*rows: tuple[float, float]) -> Window:
    return Window([at for at, _ in rows], [10.0] * len(rows), [value for _, value in rows])


def test_each_point_is_the_mean_of_its_stretch() -> None:
    rows = [(float(at), float(at)) for at in range(10, 121, 10)]
    assert points(window(*rows), 120.0, 120.0, 10.0) == (15.0, 35.0, 55.0, 75.0, 95.0, 115.0)


def test_what_nobody_sampled_is_a_gap_and_no_zero() -> None:
    found = points(window((20.0, 4.0), (110.0, 6.0)), 120.0, 120.0, 10.0)
    assert found == (4.0, None, None, None, None, 6.0)


def test_what_is_older_or_newer_is_left_out() -> None:
    assert points(window((5.0, 1.0), (130.0, 1.0)), 120.0, 100.0, 10.0) == (None,) * 5


def test_there_are_no_more_points_than_a_picture_has() -> None:
    assert len(points(Window((), (), ()), 0.0, 86400.0, 1.0)) == POINTS


def kept(clock: FakeClock, cpu: list[float]) -> History:
    values = iter(cpu)
    waited = 0.0

    def read(now: float) -> dict[Series, float]:
        nonlocal waited
        waited += 1.0
        return {USAGE["cpu"]: next(values), WAITED: waited}

    host, settings = HostFs(), Usage(state_dir=None)
    history = History(clock, host, settings, [Source("fake", ("slow",), lambda: read)])
    history.begin()
    for _ in cpu:
        clock.advance(10.0)
        history.tick("slow")
    return history


def test_a_history_in_memory_is_drawn_up_to_now() -> None:
    clock = FakeClock()
    history = kept(clock, [20.0, 40.0, 60.0, 80.0])
    by_name = {chart.name: chart for chart in charts(history, clock)}
    cpu, wait = by_name["CPU"], by_name["Waiting for cpu (PSI)"]
    assert cpu.now == 80.0
    assert cpu.spans["last hour"][-3:] == (None, 20.0, 60.0)  # half a minute each
    assert cpu.spans["last 24 hours"][-2:] == (None, 50.0)
    assert wait.now == pytest.approx(10.0)
    assert by_name["Memory"].now is None
    assert set(by_name["Memory"].spans["last 24 hours"]) == {None}


def test_what_stopped_long_ago_is_not_what_is() -> None:
    clock = FakeClock()
    history = kept(clock, [20.0, 40.0])
    clock.advance(600.0)
    chart = next(chart for chart in charts(history, clock) if chart.name == "CPU")
    assert chart.now is None
    assert chart.spans["last hour"][-19:] == (None,) * 19
    assert any(point is not None for point in chart.spans["last hour"])


def test_before_the_store_is_open_everything_is_unknown() -> None:
    clock = FakeClock()
    history = History(clock, HostFs(), Usage(state_dir=None), [])
    assert {chart.now for chart in charts(history, clock)} == {None}
