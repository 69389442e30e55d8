"""The experiment's arithmetic: alarms and events to precision, recall, delays, first suspects."""

from collections.abc import Sequence

import pytest

from benchmarks.interference.scores import (
    Alarm,
    Event,
    Outcome,
    f1,
    merged,
    outcome,
    score,
)
from benchmarks.interference.truth import Label

GUILTY, INNOCENT = "kubepods/offline/pod1", "kubepods/offline/pod2"


def event(start: float, label: Label = "harm", kind: str = "cpu") -> Event:
    """Of ten seconds."""
    return Event(kind, 1, GUILTY, start, start + 10, 3.0 if label == "harm" else 1.0, label)


def alarm(start: float, stop: float, *suspects: str) -> Alarm:
    return Alarm(start, stop, suspects or None, suspects or None)


def every(_: Event) -> bool:
    return True


@pytest.mark.parametrize(
    ("label", "raised", "found", "false"),
    [
        ("harm", [alarm(101, 112)], True, 0),
        ("harm", [alarm(100, 101)], True, 0),
        ("harm", [alarm(114.9, 116)], True, 0),  # late, and its window still has the event
        ("harm", [alarm(115.1, 116)], False, 1),
        ("harm", [alarm(99, 120)], False, 1),  # it was on before: it tells nothing
        ("harm", [alarm(99, 101), alarm(105, 106)], True, 1),
        ("harm", [], False, 0),
        ("harm", [alarm(101, 102), alarm(105, 106)], True, 0),  # twice of one event
        ("calm", [alarm(101, 102)], True, 1),
        ("calm", [alarm(101, 102), alarm(105, 106)], True, 2),
        ("grey", [alarm(101, 102)], True, 0),
        ("grey", [alarm(98, 102)], False, 1),
        ("harm", [alarm(5, 19)], False, 0),  # before anything is known of the usual
        ("harm", [alarm(5, 150)], False, 1),  # who always alarms finds nothing, and is wrong
    ],
)  # fmt: skip
def test_an_alarm_is_of_the_event_that_it_begins_in(
    label: Label, raised: list[Alarm], found: bool, false: int
) -> None:
    judged = outcome([event(100, label)], raised, start=20, stop=200)
    assert [each.alarm is not None for each in judged.detected] == [found]
    assert len(judged.false_alarms) == false


def test_the_first_alarm_of_an_event_is_its_delay() -> None:
    judged = outcome([event(100)], [alarm(107, 108), alarm(103, 104)], 0, 200)
    found = score([judged], every)
    assert (found.delay, found.delay_p95) == (3, 3)


def test_calm_time_is_what_is_left_of_harm_and_grey_with_their_grace() -> None:
    events = [event(100), event(130, "grey"), event(160, "calm")]
    assert outcome(events, [], 20, 220).calm_seconds == 200 - 15 - 15
    assert outcome([event(100)], [], 20, 112).calm_seconds == 80  # it ends within the grace


def outcomes(delays: Sequence[float | None], false: int = 0) -> list[Outcome]:
    """A recording of one harmful event each; all false alarms in the first, in an hour of calm."""
    found = []
    for number, delay in enumerate(delays):
        raised = [] if delay is None else [alarm(100 + delay, 111)]
        one = outcome([event(100)], raised, 0, 115)
        wrong = tuple(alarm(n, n) for n in range(false)) if number == 0 else ()
        found.append(one._replace(false_alarms=wrong, calm_seconds=3600 if number == 0 else 0))
    return found


@pytest.mark.parametrize(
    ("delays", "false", "precision", "recall", "f"),
    [
        ([1, 2, 3, 4], 0, 1.0, 1.0, 1.0),
        ([1, 2, 3, None], 0, 1.0, 0.75, 6 / 7),
        ([1, 2, None, None], 2, 0.5, 0.5, 0.5),
        ([None, None], 3, 0.0, 0.0, 0.0),
        ([None], 0, None, 0.0, 0.0),  # nothing raised: no precision to speak of
    ],
)
def test_precision_recall_and_f1(
    delays: list[float | None], false: int, precision: float | None, recall: float, f: float
) -> None:
    found = score(outcomes(delays, false), every)
    assert found.precision == precision
    assert found.recall == recall
    assert found.f1 == pytest.approx(f)
    assert found.false_per_hour == false


def test_delays_are_told_by_median_and_the_p95_that_one_of_them_had() -> None:
    found = score(outcomes([float(n) for n in range(1, 16)]), every)
    assert (found.delay, found.delay_p95) == (8.0, 15.0)
    assert score(outcomes([None]), every).delay is None


def test_what_is_not_scored_counts_neither_way_and_calm_counts_always() -> None:
    events = [event(100, kind="network"), event(130, "calm", kind="network"), event(160)]
    judged = outcome(events, [alarm(101, 102), alarm(131, 132)], 0, 200)
    found = score([judged], lambda each: each.kind == "cpu")
    assert (found.harmful, found.found, found.false_alarms) == (1, 0, 1)


def test_nothing_to_find_has_no_recall_and_no_f1() -> None:
    found = score([outcome([event(100, "calm")], [], 0, 200)], every)
    assert (found.recall, found.f1, found.false_alarms) == (None, None, 0)
    assert f1(None, None) is None


@pytest.mark.parametrize(
    ("suspects", "first"),
    [((GUILTY, INNOCENT), 1.0), ((INNOCENT, GUILTY), 0.0), ((), None)],
)
def test_the_true_antagonist_is_first_or_not(
    suspects: tuple[str, ...], first: float | None
) -> None:
    found = score([outcome([event(100)], [alarm(101, 102, *suspects)], 0, 200)], every)
    assert found.first == first


def test_a_method_that_names_nobody_in_particular_has_not_named_the_right_one() -> None:
    raised = Alarm(101, 102, (), (GUILTY,))
    found = score([outcome([event(100)], [raised], 0, 200)], every)
    assert (found.first, found.first_later) == (0.0, 1.0)


def test_alarms_of_several_rules_are_one_where_they_overlap_or_nearly() -> None:
    raised = [
        alarm(20, 25),
        Alarm(1, 3, None, None),
        Alarm(2, 9, (GUILTY,), (GUILTY, INNOCENT)),
        alarm(11, 12, INNOCENT),
    ]
    assert merged(raised, 3.0) == [
        Alarm(1, 12, (GUILTY,), (GUILTY, INNOCENT)),
        alarm(20, 25),
    ]
