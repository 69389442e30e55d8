"""Alarms against what was true: who was found, how soon, how often in vain. Pure.

The rule: an alarm belongs to the event in which it begins (or within `grace` seconds after it: its
window still has the event). One that was on before is no detection. Of an event that did no harm,
or of none, it is false; of one that is not scored it is neither.
"""

from collections.abc import Callable, Iterable, Sequence
from math import ceil
from statistics import median
from typing import NamedTuple

from benchmarks.interference.truth import Label

GRACE_SECONDS = 5.0


class Event(NamedTuple):
    """Elapsed seconds. `path` is the antagonist's cgroup, "" where there is none."""

    kind: str
    intensity: int
    path: str
    start: float
    stop: float
    ratio: float
    label: Label


class Alarm(NamedTuple):
    """`suspects`: the paths of cgroups, likeliest first, as they were ranked when it began; None
    where the method names nobody. `later`: as of the last ranking while it was on."""

    start: float
    stop: float
    suspects: tuple[str, ...] | None = None
    later: tuple[str, ...] | None = None


class Detected(NamedTuple):
    event: Event
    alarm: Alarm | None


class Outcome(NamedTuple):
    """Of one recording. `calm_seconds`: the time in which an alarm is false."""

    detected: tuple[Detected, ...]
    false_alarms: tuple[Alarm, ...]
    calm_seconds: float


def outcome(
    events: Sequence[Event],
    alarms: Sequence[Alarm],
    start: float,
    stop: float,
    grace: float = GRACE_SECONDS,
) -> Outcome:
    """Alarms that are over before `start` (nothing is known of the usual yet) do not count."""
    detected, wrong = [], []
    for event in events:
        of_it = [each for each in alarms if event.start <= each.start <= event.stop + grace]
        detected.append(Detected(event, min(of_it, default=None)))
        if event.label == "calm":
            wrong += of_it
    for alarm in alarms:
        if alarm.stop >= start and not any(
            each.start <= alarm.start <= each.stop + grace for each in events
        ):
            wrong.append(alarm)
    other = sum(
        min(each.stop + grace, stop) - each.start for each in events if each.label != "calm"
    )
    return Outcome(tuple(detected), tuple(wrong), max(stop - start - other, 0.0))


class Score(NamedTuple):
    """`precision`, `recall`, `f1`, `first` 0 to 1, delays in seconds; None where there was nothing
    to tell it by."""

    harmful: int
    found: int
    false_alarms: int
    precision: float | None
    recall: float | None
    f1: float | None
    delay: float | None
    delay_p95: float | None
    false_per_hour: float | None
    first: float | None
    first_later: float | None


def score(outcomes: Iterable[Outcome], scored: Callable[[Event], bool]) -> Score:
    """Over recordings. Of events that are not `scored` an alarm is neither right nor wrong, unless
    they were calm."""
    every = list(outcomes)
    harmful = [
        each
        for one in every
        for each in one.detected
        if each.event.label == "harm" and scored(each.event)
    ]
    found = [each for each in harmful if each.alarm is not None]
    wrong = sum(len(one.false_alarms) for one in every)
    hours = sum(one.calm_seconds for one in every) / 3600
    precision, recall = _share(len(found), len(found) + wrong), _share(len(found), len(harmful))
    delays = sorted(each.alarm.start - each.event.start for each in found if each.alarm)
    named = [each for each in found if each.alarm and each.alarm.suspects is not None]
    return Score(
        len(harmful),
        len(found),
        wrong,
        precision,
        recall,
        f1(precision, recall),
        median(delays) if delays else None,
        delays[ceil(0.95 * len(delays)) - 1] if delays else None,
        wrong / hours if hours else None,
        _share(sum(_is_first(e, e.alarm.suspects) for e in named if e.alarm), len(named)),
        _share(sum(_is_first(e, e.alarm.later) for e in named if e.alarm), len(named)),
    )


def _is_first(found: Detected, suspects: Sequence[str] | None) -> bool:
    return bool(suspects) and suspects is not None and suspects[0] == found.event.path


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def f1(precision: float | None, recall: float | None) -> float | None:
    """0 where nothing was found; None where there was nothing to find."""
    if recall is None:
        return None
    if not precision or not recall:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def merged(alarms: Iterable[Alarm], gap: float) -> list[Alarm]:
    """Of all rules and subjects together: those that overlap, or nearly, are one. The suspects are
    those of the first that names any."""
    found: list[Alarm] = []
    for each in sorted(alarms, key=lambda alarm: alarm.start):
        if found and each.start <= found[-1].stop + gap:
            last = found[-1]
            found[-1] = Alarm(
                last.start,
                max(last.stop, each.stop),
                last.suspects or each.suspects,
                last.later or each.later,
            )
        else:
            found.append(each)
    return found
