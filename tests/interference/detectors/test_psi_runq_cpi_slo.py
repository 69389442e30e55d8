"""psi, runq, cpi, slo: tables of windows to findings."""

import pytest

from exporter.errors import NoData
from exporter.interference.detectors.cpi import Cpi
from exporter.interference.detectors.psi import Psi
from exporter.interference.detectors.runq import Runq
from exporter.interference.detectors.slo import Slo
from exporter.interference.model import Subject
from exporter.interference.waits import BOUNDS_MICROSECONDS
from exporter.usage.window import Window
from tests.interference.windows import NOW, TableView

POD = Subject("container", "/kubepods/burstable/pod1", work="online")


@pytest.mark.parametrize(
    ("shares", "fires"),
    [
        ([0.0, 0.0, 0.5, 0.5], True),  # 0.25 of four seconds
        ([0.0, 0.0, 0.0, 0.5], False),
        ([0.9, 0.9, 0.0, 0.0, 0.0, 0.0], False),  # over, and out of the window
        ([0.3], True),  # a window that is not full yet is over what there is
        ([None, None, 0.3, 0.3], True),
    ],
)
def test_psi_is_the_share_of_its_window(shares: list[float | None], fires: bool) -> None:
    detector = Psi("memory", "some", 0.2, 4.0)
    assert (detector.evaluate(TableView({"psi_memory_some": shares}, POD)) is not None) is fires


def test_psi_says_since_when_its_window_was_over() -> None:
    shares = [0.0] * 10 + [1.0] * 5
    finding = Psi("io", "full", 0.5, 4.0).evaluate(TableView({"psi_io_full": shares}, POD))
    assert finding is not None
    assert finding.since == NOW - 2
    assert finding[:4] == ("psi_io_full", 1.0, 0.5, "ratio")
    assert "every task waited for io 100% of the last 4 s" in finding.text


def test_the_time_that_its_own_quota_stopped_it_is_not_waiting_for_cpu() -> None:
    signals = {"psi_cpu_full": [0.6] * 5, "cpu_throttled_ratio": [0.55] * 5}
    assert Psi("cpu", "full", 0.2, 4.0).evaluate(TableView(signals, POD)) is None
    del signals["cpu_throttled_ratio"]
    assert Psi("cpu", "full", 0.2, 4.0).evaluate(TableView(signals, POD)) is not None


@pytest.mark.parametrize("detector", [Psi("cpu", "some", 0.1, 5.0), Runq(0.95, 0.001, 5.0)])
def test_what_is_not_read_is_no_answer(detector: Psi | Runq) -> None:
    with pytest.raises(NoData):
        detector.evaluate(TableView({}, POD))


def waits(name: str, by_bound: dict[int, float], seconds: int = 5) -> dict[str, list[float | None]]:
    """Per second, each second alike."""
    return {
        f"{name}[{bound}]": [by_bound.get(bound, 0.0)] * seconds for bound in BOUNDS_MICROSECONDS
    }


@pytest.mark.parametrize(
    ("slow", "threshold", "fires"),
    [(10.0, 0.002, True), (10.0, 0.005, False), (2.0, 0.002, False), (0.0, 0.0001, True)],
)
def test_runq_is_a_quantile_of_all_waits_of_its_window(
    slow: float, threshold: float, fires: bool
) -> None:
    view = TableView(waits("runq_waits", {256: 100.0, 4096: slow}), POD)
    finding = Runq(0.95, threshold, 5.0).evaluate(view)
    assert (finding is not None) is fires


def test_under_twenty_waits_say_nothing() -> None:
    view = TableView(waits("runq_waits", {65536: 3.0}), POD)
    assert Runq(0.95, 0.001, 5.0).evaluate(view) is None


def test_waits_that_its_own_quota_made_do_not_count() -> None:
    signals: dict[str, list[float | None]] = {
        **waits("runq_waits", {256: 100.0, 65536: 10.0}),
        "nr_cpu_throttled": [10.0] * 5,
        "cpu_throttled_ratio": [0.6] * 5,  # 60 ms each
        "nr_processes": [1.0] * 5,
    }
    assert Runq(0.95, 0.001, 5.0).evaluate(TableView(signals, POD)) is None
    # a few throttled periods do not excuse all of it
    signals["nr_cpu_throttled"], signals["cpu_throttled_ratio"] = [1.0] * 5, [0.06] * 5
    assert Runq(0.95, 0.001, 5.0).evaluate(TableView(signals, POD)) is not None


def test_of_waits_for_offline_work_only_the_time_that_it_held_the_cpu_counts() -> None:
    own = waits("runq_waits", {256: 100.0, 16384: 20.0})
    none, some = waits("offline_waits", {256: 5.0}), waits("offline_waits", {4096: 10.0})
    detector = Runq(0.95, 0.001, 5.0, "offline")
    assert Runq(0.95, 0.001, 5.0).evaluate(TableView({**own, **none}, POD)) is not None
    assert detector.evaluate(TableView({**own, **none}, POD)) is None
    finding = detector.evaluate(TableView({**own, **some}, POD))
    assert finding is not None
    assert finding.signal == "waited_for_offline"
    assert "offline work held" in finding.text


def by_minutes(*minutes: float) -> list[float | None]:
    """Readings of a second each."""
    return [value for minute in minutes for value in [minute - 0.1, minute + 0.1] * 30]


USUAL = [1.0, 1.1] * 5


def test_three_outliers_of_cpi_in_five_minutes_and_not_two() -> None:
    for recent, fires in (([2.0, 1.0, 1.0, 1.0, 2.0], False), ([2.0, 1.0, 2.0, 1.0, 2.0], True)):
        values = by_minutes(*USUAL, *recent)
        view = TableView({"cpi": values, "cpu_usage": [1.0] * len(values)}, POD)
        finding = Cpi().evaluate(view)
        assert (finding is not None) is fires
        if finding is not None:
            assert finding.value == pytest.approx(2.0)
            assert 1.1 < finding.threshold < 1.3
            assert finding.since == NOW - 240


def test_single_readings_that_are_far_off_are_noise() -> None:
    values = by_minutes(*USUAL, *[1.05] * 5)
    for minute in range(5):
        values[-60 * minute - 30] = 3.0
    view = TableView({"cpi": values, "cpu_usage": [1.0] * len(values)}, POD)
    assert Cpi().evaluate(view) is None


def test_minutes_of_a_job_that_hardly_runs_do_not_count() -> None:
    values = by_minutes(*USUAL, *[2.0] * 5)
    view = TableView({"cpi": values, "cpu_usage": [1.0] * 600 + [0.1] * 300}, POD)
    assert Cpi().evaluate(view) is None


def test_in_a_minute_it_counts_when_it_ran_most() -> None:
    recent: list[float | None] = [*[9.0] * 30, *[1.05] * 30] * 5
    values = by_minutes(*USUAL) + recent
    cores: list[float | None] = [*[1.0] * 600, *[*[0.001] * 30, *[1.0] * 30] * 5]
    assert Cpi().evaluate(TableView({"cpi": values, "cpu_usage": cores}, POD)) is None


@pytest.mark.parametrize(
    ("signals", "why"),
    [
        ({}, "no hardware counters"),
        ({"cpi": [1.0] * 400, "cpu_usage": [1.0] * 400}, "2 minutes .* what is usual"),
    ],
)
def test_without_counters_cpi_is_off_and_says_why(
    signals: dict[str, list[float | None]], why: str
) -> None:
    with pytest.raises(NoData, match=why):
        Cpi().evaluate(TableView(signals, POD))


JOB = Subject("app", "shop")


@pytest.mark.parametrize(
    ("job", "metric", "signals", "fires"),
    [
        (None, None, {"slack": [0.3, -0.1]}, True),
        (None, None, {"slack": [-0.1, 0.3]}, False),
        ("shop", "p99", {"slack[p99]": [-0.1]}, True),
        ("shop", None, {"slack": [-0.1]}, True),
        ("mail", None, {"slack": [-0.1]}, False),  # another job's rule
    ],
)
def test_slo_fires_on_too_little_slack(
    job: str | None, metric: str | None, signals: dict[str, list[float]], fires: bool
) -> None:
    finding = Slo(job, metric, 0.0).evaluate(TableView(signals, JOB))
    assert (finding is not None) is fires


def test_an_application_that_does_not_answer_is_no_alarm_and_no_all_clear() -> None:
    with pytest.raises(NoData, match="its application gave no value"):
        Slo(None, None, 0.0).evaluate(TableView({"slack": Window((), (), ())}, JOB))
