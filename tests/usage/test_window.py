"""Windows by small tables that can be reckoned by hand."""

import math

import pytest

from exporter.usage import window
from exporter.usage.window import Window

NONE = Window((), (), ())


def of(*values: float, every: float = 10.0) -> Window:
    return Window(
        [every * (index + 1) for index in range(len(values))], [every] * len(values), list(values)
    )


@pytest.mark.parametrize(
    ("values", "mean", "low", "high", "median", "p95"),
    [
        ((5.0,), 5.0, 5.0, 5.0, 5.0, 5.0),
        ((1.0, 3.0), 2.0, 1.0, 3.0, 2.0, 2.9),
        ((3.0, 1.0, 2.0), 2.0, 1.0, 3.0, 2.0, 2.9),
        (tuple(float(n) for n in range(101)), 50.0, 0.0, 100.0, 50.0, 95.0),
    ],
)
def test_a_window_is_over_what_there_is(
    values: tuple[float, ...], mean: float, low: float, high: float, median: float, p95: float
) -> None:
    asked = of(*values)
    assert window.mean(asked) == mean
    assert (window.minimum(asked), window.maximum(asked)) == (low, high)
    assert window.quantile(asked, 0.5) == median
    assert window.quantile(asked, 0.95) == pytest.approx(p95)
    assert (window.quantile(asked, 0), window.quantile(asked, 1)) == (low, high)


def test_of_nothing_at_all_nothing_is_known() -> None:
    answers = (
        window.mean(NONE), window.minimum(NONE), window.maximum(NONE), window.rate(NONE),
        window.quantile(NONE, 0.5), window.ewma(NONE, 10.0), window.max_of_mean(NONE, 300.0),
    )  # fmt: skip
    assert answers == (None,) * 7


@pytest.mark.parametrize(
    ("deltas", "rate"),
    [
        (of(10.0, 30.0), 2.0),
        (Window([10.0, 3610.0], [10.0, 3600.0], [10.0, 3600.0]), 1.0),
        (Window([10.0, 3610.0], [10.0, 10.0], [10.0, 20.0]), 1.5),
        (Window([10.0], [0.0], [10.0]), None),
        (of(0.0, 0.0), 0.0),
    ],
    ids=["even", "a delta over a long gap", "a gap without delta", "no time", "stands still"],
)
def test_a_rate_is_over_the_seconds_that_its_deltas_cover(
    deltas: Window, rate: float | None
) -> None:
    assert window.rate(deltas) == rate


def test_a_counters_intervals_are_a_gauge_and_those_without_time_are_none() -> None:
    deltas = Window([10.0, 10.0, 30.0], [10.0, 0.0, 20.0], [5.0, 7.0, 40.0])
    assert window.per_second(deltas) == Window([10.0, 30.0], [10.0, 20.0], [0.5, 2.0])


def test_an_ewma_weighs_by_age_and_a_gap_ages_too() -> None:
    assert window.ewma(of(0.0, 1.0), 10.0) == pytest.approx(2 / 3)
    long_ago = Window([0.0, 1000.0], [10.0, 10.0], [0.0, 1.0])
    assert window.ewma(long_ago, 10.0) == pytest.approx(1.0)
    assert window.ewma(of(7.0, 7.0, 7.0), 1e-3) == 7.0


def test_the_maximum_of_means_is_not_the_maximum_of_samples() -> None:
    spike = of(*[0.0] * 29, 100.0, *[0.0] * 29)
    assert window.maximum(spike) == 100.0
    assert window.max_of_mean(spike, 300.0) == pytest.approx(100 / 30)


def test_a_mean_reaches_back_to_but_not_into_its_beginning() -> None:
    assert window.means(of(1.0, 2.0, 3.0, 4.0), 20.0).values == [1.0, 1.5, 2.5, 3.5]


def test_what_was_before_can_count_for_means_and_not_for_their_maximum() -> None:
    falling = window.means(of(90.0, 30.0, 0.0, 0.0), 20.0)
    assert window.maximum(falling) == 90.0
    assert window.maximum(window.after(falling, 20.0)) == 15.0
    assert window.after(falling, 1e9) == ([], [], [])


def test_sums_of_many_small_and_one_large_lose_nothing() -> None:
    assert window.mean(of(1e16, *[1.0] * 9, -1e16)) == pytest.approx(9 / 11)
    assert not math.isnan(window.rate(of(1e-300, 1e300)) or 0.0)
