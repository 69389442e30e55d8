"""What was true, from latencies as they are made up here."""

from itertools import pairwise

import pytest

from benchmarks.interference.schedule import lasts, plan
from benchmarks.interference.truth import (
    Label,
    Truth,
    p99,
    quiet_stretches,
    solo_p99,
    truth,
)


@pytest.mark.parametrize(
    ("role", "ratio", "label"),
    [
        ("antagonist", 1.81, "harm"),
        ("antagonist", 1.8, "grey"),
        ("antagonist", 1.2, "grey"),
        ("antagonist", 1.19, "calm"),
        ("negative", 9.0, "calm"),  # its own doing
    ],
)
def test_harm_is_an_antagonist_and_pain_together(role: str, ratio: float, label: Label) -> None:
    assert truth(role, ratio) == Truth(ratio, label)


def test_p99_is_a_latency_that_was_there() -> None:
    assert p99([float(n) for n in range(1, 101)]) == 100
    assert p99([float(n) for n in range(1, 201)]) == 199
    assert p99([0.5]) == 0.5
    with pytest.raises(ValueError, match="no requests"):
        p99([])


def test_solo_is_the_median_over_windows_so_one_bad_window_does_not_matter() -> None:
    def between(service: str, start: float, stop: float) -> list[float]:
        assert service == "redis"
        slow = 9.0 if start == 100 else 0.002
        return [slow] * 30 + [0.001] * 1470

    quiet = [(0.0, 5.0), (100.0, 105.0), (200.0, 205.0)]
    assert solo_p99(between, "redis", quiet) == 0.002


def test_less_than_a_window_is_taken_as_it_is() -> None:
    assert solo_p99(lambda *_: [0.003, 0.001], "redis", [(0, 1)]) == 0.003


@pytest.mark.parametrize(
    ("events", "quiet"),
    [
        ([], [(0, 100)]),
        ([(10, 20), (40, 50)], [(0, 10), (24, 40), (54, 100)]),
        ([(0, 20), (22, 50)], [(54, 100)]),
        ([(90, 99)], [(0, 90)]),
    ],
)
def test_quiet_is_what_is_between_events_and_a_while_after_them(
    events: list[tuple[float, float]], quiet: list[tuple[float, float]]
) -> None:
    assert quiet_stretches(events, 0, 100, settle=4) == quiet


def test_a_seed_is_a_schedule_and_five_seeds_meet_everything() -> None:
    assert plan(3, 9, 10.0) == plan(3, 9, 10.0) != plan(4, 9, 10.0)
    for group in (range(1, 6), range(6, 11)):
        events = [each for seed in group for each in plan(seed, 9, 10.0)]
        met = {(each.kind, each.intensity) for each in events}
        assert len(met) == 6 * 3 + 5
        assert len({each.cgroup for each in events}) == 5


def test_events_do_not_meet_and_leave_time_to_recover() -> None:
    planned = plan(1, 9, 10.0)
    gaps = [after.start - before.stop for before, after in pairwise(planned)]
    assert len(planned) == 9
    assert min(gaps) >= 9
    assert all(each.stop - each.start == pytest.approx(10) for each in planned)
    assert lasts(planned) > planned[-1].stop + 5
