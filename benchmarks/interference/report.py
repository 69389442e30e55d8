"""The tables: who found what, on which events, and what helped. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from benchmarks.interference.antagonists import INTENSITIES, KINDS, SCORED
from benchmarks.interference.client import SERVICES
from benchmarks.interference.methods import TABLES, Basis, Method
from benchmarks.interference.remedies import REMEDIES, Trials, solo_of
from benchmarks.interference.replaying import Recording, alarms, judged
from benchmarks.interference.schedule import NEGATIVES
from benchmarks.interference.scores import Detected, Event, Outcome, Score, score
from benchmarks.tables import Table

BEGIN, END = "<!-- the experiment: begin -->", "<!-- the experiment: end -->"


class Judged(NamedTuple):
    """A method as tuned, over the recordings that are reported."""

    method: Method
    tuned: float
    outcomes: tuple[Outcome, ...]


def is_scored(event: Event) -> bool:
    return event.kind in SCORED


def tuned(method: Method, recordings: Sequence[Recording], basis: Basis) -> float:
    """The number of its grid with the best F1 there; of several the first."""
    if len(method.grid) == 1 or not recordings:
        return method.grid[0]

    def quality(number: float) -> float:
        rules = method.make(basis, number)
        found = score((judged(each, rules, method.names) for each in recordings), is_scored)
        return found.f1 or 0.0

    return max(method.grid, key=quality)


def judge(
    recordings: Sequence[Recording], to_tune: Sequence[Recording], basis: Basis
) -> dict[str, list[Judged]]:
    found: dict[str, list[Judged]] = {}
    for table, methods in TABLES.items():
        for method in methods:
            number = tuned(method, to_tune, basis)
            rules = method.make(basis, number)
            outcomes = tuple(judged(each, rules, method.names) for each in recordings)
            found.setdefault(table, []).append(Judged(method, number, outcomes))
    return found


# --- tables


def methods_table(title: str, rows: Iterable[Judged], note: str) -> Table:
    head = ("method", "precision", "recall", "F1", "delay, median", "p95", "false alarms per hour",
            "antagonist first")  # fmt: skip
    return Table(title, head, tuple(_method_row(each) for each in rows), (note,))


def _method_row(each: Judged) -> tuple[str, ...]:
    found = score(each.outcomes, is_scored)
    tuned_to = f" ({each.tuned:g})" if len(each.method.grid) > 1 else ""
    return (
        f"{each.method.title}{tuned_to}",
        f"{_ratio(found.precision)} ({found.false_alarms} false)",
        f"{_ratio(found.recall)} ({found.found} of {found.harmful})",
        _ratio(found.f1),
        _seconds(found.delay),
        _seconds(found.delay_p95),
        "–" if found.false_per_hour is None else f"{found.false_per_hour:.1f}",
        _first(found),
    )


def _first(found: Score) -> str:
    if found.first is None:
        return "–"
    return f"{found.first:.0%}, later {found.first_later or 0:.0%}"


def kinds_table(recordings: Sequence[Recording], judged_: Mapping[str, Sequence[Judged]]) -> Table:
    """By kind and intensity; a column of each method says found / harmful."""
    every = [each for rows in judged_.values() for each in rows]
    short = {id(each): each.method.short for each in every}
    head = ("antagonist", "p99 × solo", "harm, grey, none", *(short[id(each)] for each in every),
            "delay", "first")  # fmt: skip
    rows = []
    for kind in KINDS:
        for intensity in INTENSITIES:

            def wanted(event: Event, kind: str = kind, intensity: int = intensity) -> bool:
                return event.kind == kind and event.intensity == intensity

            events = [e for one in recordings for e in one.events if wanted(e)]
            if not events:
                continue
            labels = [sum(e.label == name for e in events) for name in ("harm", "grey", "calm")]
            found = [score(each.outcomes, wanted) for each in every]
            ours = next(
                (f for f, each in zip(found, every, strict=True) if each.method.names), None
            )
            rows.append(
                (
                    f"{kind} {intensity}",
                    ", ".join(f"{e.ratio:.2g}" for e in sorted(events, key=lambda e: e.ratio)),
                    ", ".join(map(str, labels)),
                    *(f"{f.found} of {f.harmful}" if f.harmful else "–" for f in found),
                    _seconds(ours.delay) if ours else "–",
                    "–" if ours is None or ours.first is None else f"{ours.first:.0%}",
                )
            )
    note = "Events found of those that harmed; delay and first suspect are of the shipped rules."
    return Table("By antagonist and intensity", head, tuple(rows), (note,))


def negatives_table(judged_: Mapping[str, Sequence[Judged]]) -> Table:
    """In how many of them anything was raised. Antagonists that did no harm are negatives too."""
    every = [each for rows in judged_.values() for each in rows]
    head = ("what was no interference", "times", *(each.method.short for each in every))
    cases: list[tuple[str, Callable[[Event], bool]]] = [
        (name, lambda event, name=name: event.kind == name)  # type: ignore[misc]
        for name in NEGATIVES
    ]
    cases.append(("antagonist without harm", lambda e: e.kind in KINDS and e.label == "calm"))
    rows = []
    for name, wanted in cases:
        times = sum(wanted(each.event) for one in every[0].outcomes for each in one.detected)
        rows.append((name, str(times), *(str(_raised(each.outcomes, wanted)) for each in every)))
    between = (
        str(
            sum(len(one.false_alarms) for one in each.outcomes)
            - sum(
                one.event.label == "calm" and one.alarm is not None
                for o in each.outcomes
                for one in o.detected
            )
        )
        for each in every
    )
    rows.append(("nothing at all, or again in one of these", "", *between))
    return Table("False alarms by what they were raised on", head, tuple(rows))


def _raised(outcomes: Iterable[Outcome], wanted: Callable[[Event], bool]) -> int:
    detected: list[Detected] = [each for one in outcomes for each in one.detected]
    return sum(wanted(each.event) and each.alarm is not None for each in detected)


def remedies_table(trials: Trials) -> Table:
    """p99 over solo of the service that suffers most, by antagonist and what was done."""
    found = {(each.kind, each.intensity, each.remedy): each for each in trials.done}
    names = {"rules": "the shipped rules, on their own"}
    head = ("antagonist", *(names.get(each, each) for each in REMEDIES))
    solos = solo_of(trials)
    rows = []
    for kind, intensity in dict.fromkeys((each.kind, each.intensity) for each in trials.done):
        cells = []
        for remedy in REMEDIES:
            trial = found.get((kind, intensity, remedy))
            cells.append("–" if trial is None else _times(trial.p99, solos))
        rows.append((f"{kind} {intensity}", *cells))
    load = fmean(trials.load) if trials.load else 0.0
    solo = ", ".join(f"{name} {p99 * 1000:.1f} ms" for name, p99 in solos.items())
    note = (
        f"p99 × solo of redis / HTTP; solo (median of {_count(trials)}): {solo}. Node's load "
        f"{load:.1f}. preempt: cpu.idle; quota: half a core for all offline work; io: 10 MB/s for "
        "the antagonist; memory.high: 64 MiB for it (v1: the soft limit). By hand 2 s after it "
        "began, counted from 2 s after that; the shipped rules counted from 5 s after it began."
    )
    return Table("Which action helps against which antagonist", head, tuple(rows), (note,))


def _count(trials: Trials) -> int:
    return sum(each.remedy == "solo" for each in trials.done)


def _times(found: Mapping[str, float], solo: Mapping[str, float]) -> str:
    return " / ".join(f"{found[name] / p99:.2g}" for name, p99 in solo.items())


def timeline(recording: Recording, basis: Basis) -> Iterator[str]:
    """For looking at: what happened, what was true, and what each method said when."""
    notes = recording.notes
    solo = ", ".join(f"{name} {p99 * 1000:.2f} ms" for name, p99 in recording.solo.items())
    yield f"seed {notes.seed}: load {notes.load:.1f}, solo {solo}, noise {recording.over:.0%}"
    for each in recording.events:
        what = f"{each.kind} {each.intensity or ''}".strip()
        times = f"{each.start:6.1f} – {each.stop:6.1f}"
        yield f"  {times}  {what:12}  {each.ratio:8.2f}  {each.label:5} {each.path[-2:]}"
    for methods in TABLES.values():
        for method in methods:
            number = method.grid[len(method.grid) // 2]
            raised = alarms(recording.store, method.make(basis, number), method.names)
            shown = (
                f"{each.start:.1f}–{each.stop:.1f}{_named(each.suspects)}{_named(each.later)}"
                for each in raised
            )
            yield f"  {method.short}: {', '.join(shown) or 'nothing'}"


def _named(suspects: Sequence[str] | None) -> str:
    return "" if suspects is None else f" {suspects[0][-2:] if suspects else '–'}"


def caption(recordings: Sequence[Recording], to_tune: Sequence[Recording], machine: str) -> str:
    """What was run, and how quiet the machine was."""
    events = [each for one in recordings for each in one.events]
    harmful = sum(each.label == "harm" for each in events)
    grey = sum(each.label == "grey" for each in events)
    solo = ", ".join(
        f"{name} {median(one.solo[name] for one in recordings) * 1000:.1f} ms" for name in SERVICES
    )
    return (
        f"Seeds {_seeds(recordings)}, {len(events)} events of "
        f"{median(e.stop - e.start for e in events):.0f} s ({harmful} did harm, {grey} are not "
        f"scored), tuned on seeds {_seeds(to_tune) or 'none'}. {machine}; the node's load was "
        f"{fmean(one.notes.load for one in recordings):.1f}, and p99 was over 1.5 × solo in "
        f"{fmean(one.over for one in recordings):.0%} of quiet seconds. Solo p99: {solo}."
    )


def _seeds(recordings: Sequence[Recording]) -> str:
    return ", ".join(str(each.notes.seed) for each in recordings)


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"
