"""Levels: when they change, and that nothing else changes them."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pressure.levels import START, Level, Settings, State, adopted, advance, age

SETTINGS = Settings(high=80, low=70, of=4, at_least=3, hold=30, expire_after=60)
STEP = 10.0
VALUES = st.one_of(
    st.none(), st.just(float("nan")), st.sampled_from([60.0, 69.9, 70.0, 75.0, 80.0, 80.1, 95.0])
)


def run(values: list[float | None], state: State = START, at: float = 0.0) -> list[Level]:
    """The level after each sample, STEP seconds apart."""
    levels: list[Level] = []
    for value in values:
        at += STEP
        state = advance(state, at, value, SETTINGS)
        levels.append(state.level)
    return levels


def after(values: list[float | None], state: State = START, at: float = 0.0) -> Level:
    return run(values, state, at)[-1]


HOT = [90.0] * 3


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ([None], "unknown"),
        ([None, None, 50], "calm"),
        ([90], "calm"),
        ([90, 90], "calm"),
        ([90, 90, 90], "pressed"),
        ([90, 50, 90, 90], "pressed"),
        ([90, 90, 50, 50, 90], "calm"),
        ([80, 80, 80, 80], "calm"),  # at the level is not over it
        ([90, None, 90, None, 90], "pressed"),  # of the last samples that there are
        ([90, 90, float("nan"), 90], "pressed"),
        ([*HOT, 60, 60, 60], "pressed"),
        ([*HOT, 60, 60, 60, 60], "calm"),  # 30 s between the first and the last
        ([*HOT, 70, 70, 70, 70, 70], "pressed"),  # at low is not under it
        ([*HOT, 60, 60, 75, 60, 60, 60], "pressed"),
        ([*HOT, 60, 60, 75, 60, 60, 60, 60], "calm"),
        ([*HOT, 60, 60, None, 60], "pressed"),  # the gap before the last 60 was not seen
        ([*HOT, None, None, None, None, None, None], "pressed"),
        ([*HOT, None, None, None, None, None, None, None], "unknown"),
        ([*HOT, None, None, None, None, None, None, None, 90], "calm"),
        ([*HOT, *[None] * 7, 90, 90, 90], "pressed"),
        ([*HOT, *[60] * 4, 90, 90], "calm"),  # what began the last pressure begins no other
        ([*HOT, *[60] * 4, 90, 90, 90], "pressed"),
    ],
)
def test_the_level_after_these_samples(values: list[float | None], level: Level) -> None:
    assert after(values) == level


def test_what_is_adopted_is_pressed_until_it_was_seen_under_low() -> None:
    assert run([None] * 6, adopted(0.0)) == ["pressed"] * 6
    assert after([None] * 7, adopted(0.0)) == "unknown"
    assert run([60, 60, 60, 60], adopted(0.0)) == ["pressed"] * 3 + ["calm"]


def test_a_long_pause_between_two_calls_is_as_many_calls_without_a_value() -> None:
    state = advance(adopted(0.0), 1000.0, 60.0, SETTINGS)
    assert state.level == "calm"
    assert advance(adopted(0.0), 1000.0, None, SETTINGS).level == "unknown"


def test_a_clock_that_stands_still_ends_no_hold() -> None:
    state = adopted(0.0)
    for _ in range(100):
        state = advance(state, 0.0, 60.0, SETTINGS)
    assert state.level == "pressed"


def test_the_age_is_the_last_sample_s() -> None:
    state = advance(advance(START, 10.0, 50.0, SETTINGS), 20.0, None, SETTINGS)
    assert age(state, 25.0) == 15.0
    assert age(START, 25.0) is None


@given(st.lists(VALUES, max_size=60))
def test_pressure_has_its_samples_and_calm_has_its_hold(values: list[float | None]) -> None:
    state, under = START, 0.0
    known: list[float] = []
    before: float | None = None
    for index, value in enumerate(values):
        new = advance(state, index * STEP, value, SETTINGS)
        unknown = value is None or value != value
        if not unknown:
            assert value is not None
            known = [*known, value][-SETTINGS.of :]
        if unknown:
            assert new.level == state.level or new.level == "unknown"
        elif new.level == "pressed" != state.level:
            assert sum(each > SETTINGS.high for each in known) >= SETTINGS.at_least
        elif state.level == "pressed" and new.level == "calm":
            stale = state.known_at is not None and index * STEP - state.known_at > 60
            assert stale or (known[-1] < SETTINGS.low and under + STEP >= SETTINGS.hold)
        if not unknown:
            low = value is not None and value < SETTINGS.low
            under = under + STEP if low and before is not None and before < SETTINGS.low else 0.0
            before = value
        state = new


@given(st.lists(VALUES, min_size=1, max_size=60))
def test_samples_between_low_and_high_change_a_level_once_at_most(
    values: list[float | None],
) -> None:
    state = START
    for index, value in enumerate(values):
        state = advance(state, index * STEP, value, SETTINGS)
    settled = advance(state, len(values) * STEP, 75.0, SETTINGS)
    for index in range(len(values) + 1, len(values) + 50):
        new = advance(settled, index * STEP, 75.0, SETTINGS)
        assert new.level == settled.level
        settled = new


@given(st.lists(VALUES, max_size=60), st.integers(1, 5))
def test_calls_without_a_value_in_between_end_no_pressure_earlier(
    values: list[float | None], more: int
) -> None:
    plain, holed = START, START
    for index, value in enumerate(values):
        for step in range(more):
            holed = advance(holed, (index - 1 + (step + 1) / (more + 1)) * STEP, None, SETTINGS)
        plain = advance(plain, index * STEP, value, SETTINGS)
        holed = advance(holed, index * STEP, value, SETTINGS)
        assert plain.level in (holed.level, "calm")


def test_states_of_a_large_cluster_are_small() -> None:
    state = advance(START, 1.5, 50.0, SETTINGS)
    size = sys.getsizeof(state) + sys.getsizeof(state.known_at)
    assert 20_000 * size < 4 << 20  # 5,000 nodes × 4 resources
