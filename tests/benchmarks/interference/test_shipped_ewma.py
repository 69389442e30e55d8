"""Caelus' ewma has here the defects that it ships with; ours does not (tests/interference)."""

import pytest

from benchmarks.interference.shipped_ewma import Average, ShippedEwma, flagged
from exporter.interference.model import NODE
from exporter.interference.views import replay
from exporter.usage import store as stores
from exporter.usage.series import Series
from exporter.usage.store import Now

NOISE = (10.0, 10.4, 9.8, 10.1, 9.6, 10.2, 9.9)
USUAL = [NOISE[n % len(NOISE)] for n in range(70)]


def test_the_mean_is_unknown_for_ten_samples_and_then_theirs() -> None:
    average = Average(20)
    for _ in range(10):
        average.add(5.0)
        assert average.value == 0
    average.add(5.0)
    assert average.value == pytest.approx(5.0)
    average.add(26.0)
    assert average.value == pytest.approx(7.0)  # α = 2 / 21


@pytest.mark.parametrize("nr", [11, 12])
@pytest.mark.parametrize("peak", [20.0, 1e3, 1e9])
def test_up_to_twelve_it_can_never_fire(nr: int, peak: float) -> None:
    assert not any(flagged([*USUAL, peak, *USUAL], nr))


@pytest.mark.parametrize("nr", [13, 20, 40, 100])
def test_above_that_a_peak_is_flagged_once_the_ring_is_full(nr: int) -> None:
    assert flagged([*USUAL, *USUAL, 1e3], nr)[-1]


@pytest.mark.parametrize("nr", [20, 40])
def test_a_shift_that_stays_is_learnt_within_seven_samples(nr: int) -> None:
    shifted = [value + 10 * 0.25 for value in USUAL]  # ten times the noise's σ
    found = flagged([*USUAL, *shifted], nr)[len(USUAL) :]
    assert 1 <= sum(found) <= 7
    assert not any(found[7:])


def test_zeros_that_were_never_measured_blind_it_until_the_ring_is_full() -> None:
    early = [*USUAL[:40], 25.0]
    assert not flagged(early, 100)[-1]
    assert flagged(early, 40)[-1]


def test_a_reading_that_failed_is_zero_and_an_anomaly() -> None:
    kept = stores.in_memory(1.0, 900.0, Now(0.0, 0.0, ""))
    load = Series("node.load.1m", "gauge")
    other = Series("node.tasks.blocked", "gauge")
    for second, value in enumerate(USUAL, start=1):
        kept.put(float(second), 0.0, {load: value, other: 1.0})
    kept.put(len(USUAL) + 1.0, 0.0, {other: 1.0})
    *_, before, last = replay(kept)
    detector = ShippedEwma("load_1min", 20)
    assert detector.evaluate(before.view(NODE)) is None
    found = detector.evaluate(last.view(NODE))
    assert found is not None
    assert found.value == 0
