"""Slopes, quantiles and gaps, of series whose answer is known."""

import pytest

from benchmarks.soak.figures import Point, Span, after, ends, gaps, quantile, slope


def line(per_hour: float, count: int = 100) -> list[Point]:
    return [Point(at * 5.0, 60.0 + per_hour * at * 5.0 / 3600) for at in range(count)]


@pytest.mark.parametrize("per_hour", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("count", [3, 100, 1000])
def test_the_slope_of_a_line_is_its_own(per_hour: float, count: int) -> None:
    assert slope(line(per_hour, count)) == pytest.approx(per_hour, abs=1e-6)


def test_a_spike_moves_no_slope() -> None:
    points = line(0.0)
    points[50] = Point(points[50].at, 1000.0)
    points[-1] = Point(points[-1].at, 1000.0)
    assert slope(points) == 0.0


@pytest.mark.parametrize("points", [[], line(1.0, 2), [Point(1.0, 1.0)] * 5])
def test_of_too_little_there_is_no_slope(points: list[Point]) -> None:
    assert slope(points) is None


@pytest.mark.parametrize(
    ("values", "q", "want"),
    [
        ([], 0.5, None),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 101)], 1, 100.0),
        ([7.0], 0.99, 7.0),
    ],
)
def test_a_quantile_is_one_of_the_values(values: list[float], q: float, want: float) -> None:
    assert quantile(values, q) == want


def test_ends_are_medians_of_quarters() -> None:
    values = (1.0, 100.0, 1.0, 5.0, 5.0, 5.0, 9.0, 9.0, 0.0, 5.0, 5.0, 5.0)
    assert ends([Point(float(at), value) for at, value in enumerate(values)]) == (1.0, 5.0)
    assert ends(line(1.0, 3)) is None


def test_what_was_before_is_left_out() -> None:
    assert after(line(0.0, 4), 7.0) == line(0.0, 4)[2:]


@pytest.mark.parametrize(
    ("times", "away", "want"),
    [
        ([0.0, 10.0, 20.3, 29.8], [], 0),
        ([0.0, 10.0, 40.0, 50.0], [], 2),
        ([0.0, 10.0, 40.0, 70.0], [Span(15.0, 16.0)], 2),
        ([0.0, 40.0], [Span(-5.0, -1.0), Span(41.0, 50.0)], 3),
        ([0.0], [], 0),
        ([], [], 0),
    ],
)
def test_ticks_are_missing_where_no_kill_explains_it(
    times: list[float], away: list[Span], want: int
) -> None:
    assert gaps(times, 10.0, away) == want
