"""ewma: what it shares with Caelus', and each of the defects that it does not."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import NoData
from exporter.interference.detectors.ewma import Ewma
from tests.interference.windows import NOW, TableView


def noise(count: int, mean: float = 100.0, sigma: float = 2.0) -> list[float]:
    chance = random.Random(7)
    return [chance.gauss(mean, sigma) for _ in range(count)]


def fires(values: list[float], nr: int = 11) -> bool:
    return Ewma("cpu_usage", nr).evaluate(TableView({"cpu_usage": values})) is not None


@pytest.mark.parametrize("nr", [11, 12, 20, 60])
def test_a_spike_fires_with_any_nr(nr: int) -> None:
    """Caelus' cannot with nr ≤ 12: the tested point is in its own σ, among zeros."""
    assert fires([*noise(200), 130.0], nr)
    assert fires([*noise(200), 70.0], nr)


def test_it_sees_from_the_first_sample_after_nr() -> None:
    assert fires([*noise(11), 130.0])
    with pytest.raises(NoData, match="10 samples, want 11"):
        fires(noise(10))


@pytest.mark.parametrize("samples", [1, 7, 60, 600])
def test_a_shift_that_lasts_goes_on_firing_since_it_began(samples: int) -> None:
    values = [*noise(200), *noise(samples, mean=120.0)]
    finding = Ewma("cpu_usage", 20).evaluate(TableView({"cpu_usage": values}))
    assert finding is not None
    assert finding.since == NOW - samples + 1


def test_a_steady_metric_that_moves_by_nothing_to_speak_of_does_not_fire() -> None:
    assert not fires([100.0] * 50 + [102.0])  # under three times a hundredth of the mean
    assert fires([100.0] * 50 + [104.0])


def test_a_metric_at_zero_that_leaves_it_fires() -> None:
    assert fires([0.0] * 30 + [1.0])


def test_few_false_alarms_on_noise() -> None:
    values = noise(600)
    alarms = sum(fires(values[:end], 30) for end in range(60, 600))
    assert alarms < 0.02 * 540


def test_a_slow_drift_is_followed() -> None:
    assert not fires([100.0 + 0.05 * n + math.sin(n) for n in range(400)], 20)


@given(st.lists(st.floats(-1e9, 1e9), min_size=12, max_size=60))
def test_whatever_the_samples_it_is_pure_and_its_value_is_the_newest(values: list[float]) -> None:
    view = TableView({"m": values})
    first, again = Ewma("m", 11).evaluate(view), Ewma("m", 11).evaluate(view)
    assert first == again
    if first is not None:
        assert first.value == values[-1]
        assert first.since <= NOW
