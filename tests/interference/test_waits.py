"""Histograms of waits: quantiles, what offline work held, what a quota made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.interference.waits import (
    BOUNDS_MICROSECONDS,
    EDGES,
    bucket_of_slot,
    held_by_offline,
    quantile_seconds,
    without_throttling,
)

BUCKETS = len(BOUNDS_MICROSECONDS)
COUNTS = st.lists(st.integers(0, 1000).map(float), min_size=BUCKETS, max_size=BUCKETS)


@pytest.mark.parametrize(
    ("slot", "bound"), [(0, 128), (7, 128), (8, 256), (12, 4096), (14, 16384), (15, 65536)]
)
def test_a_slot_of_the_kernels_is_in_the_bucket_that_holds_all_of_it(slot: int, bound: int) -> None:
    assert BOUNDS_MICROSECONDS[bucket_of_slot(slot)] == bound


def test_every_slot_of_the_kernels_has_a_bucket() -> None:
    assert {bucket_of_slot(slot) for slot in range(27)} == set(range(BUCKETS))


@given(COUNTS, st.floats(0.5, 0.9999), st.floats(0.5, 0.9999))
def test_a_higher_quantile_is_no_shorter_wait(counts: list[float], a: float, b: float) -> None:
    low, high = quantile_seconds(counts, min(a, b)), quantile_seconds(counts, max(a, b))
    if low is None or high is None:
        assert sum(counts) == 0
    else:
        assert 0 <= low <= high <= EDGES[-1][1]


@given(COUNTS, COUNTS)
def test_what_offline_work_held_is_of_all_waits(
    everyone: list[float], offline: list[float]
) -> None:
    within = [min(a, b) for a, b in zip(everyone, offline, strict=True)]
    found = held_by_offline([*everyone, *within])
    assert sum(found) == sum(everyone)
    assert found[1:] == within[1:]


@given(COUNTS, st.integers(0, 50), st.floats(0, 10), st.integers(0, 20))
def test_a_quota_only_takes_waits_away_and_the_longest_first(
    counts: list[float], periods: int, seconds: float, tasks: int
) -> None:
    rest = without_throttling(counts, periods, seconds, tasks)
    taken = [before - after for before, after in zip(counts, rest, strict=True)]
    assert all(0 <= each <= before for each, before in zip(taken, counts, strict=True))
    assert sum(taken) <= periods * max(tasks, 1)
    if not periods:
        assert rest == counts
    touched = [at for at, each in enumerate(taken) if each]
    if touched:  # whatever is longer is gone
        assert all(rest[at] == 0 for at in range(touched[0] + 1, BUCKETS))
