"""A recording and rules to alarms: the real driver, views and attribution, as agents do."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.interference.cgroups import OFFLINE_ROOT, PODS
from benchmarks.interference.client import SERVICES
from benchmarks.interference.methods import CLEAR_SECONDS, paced
from benchmarks.interference.recording import Notes, read_notes
from benchmarks.interference.schedule import WARM_UP_SECONDS
from benchmarks.interference.scores import Alarm, Event, Outcome, merged, outcome
from benchmarks.interference.truth import p99 as p99_of
from benchmarks.interference.truth import quiet_stretches, solo_p99, truth
from benchmarks.interference.victim import Latencies
from exporter.interference.driver import Driver
from exporter.interference.model import ALL_JOBS, NODE, Incident, RuleSet, Subject
from exporter.interference.views import replay, subjects_in
from exporter.usage import record
from exporter.usage.pods import Offline
from exporter.usage.store import Store

SETTLE_SECONDS = 4.0


class Recording(NamedTuple):
    """`solo`: p99 in seconds by service. `over`: the share of quiet windows of 1 s in which p99
    was over 1.5 times that: how noisy the machine was."""

    notes: Notes
    store: Store
    events: tuple[Event, ...]
    solo: dict[str, float]
    over: float


def load(folder: Path) -> Recording:
    """Raises KernmeshError, OSError where it is not whole."""
    notes, latencies = read_notes(folder), Latencies(folder / "latencies")
    store = record.read(folder / "usage.store")
    stop = notes.epoch + store.last_elapsed
    quiet = quiet_stretches(
        [(each.start, each.stop) for each in notes.events], notes.began + 5, stop, SETTLE_SECONDS
    )
    solo = {name: solo_p99(latencies.between, name, quiet) for name in SERVICES}
    events = []
    for each in notes.events:
        ratio = max(
            _p99(latencies.between(name, each.start, each.stop)) / solo[name] for name in SERVICES
        )
        # what was to do no harm, and did, is an antagonist like any other
        judged = truth("antagonist" if each.path else each.role, ratio)
        start, stop = each.start - notes.epoch, each.stop - notes.epoch
        events.append(Event(each.kind, each.intensity, each.path, start, stop, *judged))
    return Recording(notes, store, tuple(events), solo, _noise(latencies, quiet, solo))


def _p99(rows: Sequence[float]) -> float:
    """What was never answered took for ever."""
    return p99_of(rows) if rows else math.inf


def _noise(
    latencies: Latencies, quiet: Sequence[tuple[float, float]], solo: dict[str, float]
) -> float:
    seconds = [
        p99_of(rows) > 1.5 * solo[name]
        for start, stop in quiet
        for second in range(int(stop - start))
        for name in SERVICES
        if (rows := latencies.between(name, start + second, start + second + 1))
    ]
    return sum(seconds) / len(seconds) if seconds else 0.0


def subjects_of(store: Store) -> tuple[Subject, ...]:
    """The node, all jobs, the experiment's pods."""
    known = subjects_in(store.series(), Offline((OFFLINE_ROOT,)).in_roots)
    return (NODE, ALL_JOBS, *(each for each in known if each.name.strip("/") in PODS))


def alarms(store: Store, rules: RuleSet, names: bool) -> list[Alarm]:
    """Of the victim, the node and the jobs, whichever rule."""
    driver = Driver(paced(rules))
    fixed = subjects_of(store)
    subjects = fixed
    on: dict[str, Alarm] = {}
    found: list[Alarm] = []
    for moment in replay(store):
        jobs = moment.applications()
        if len(subjects) != len(fixed) + len(jobs):
            subjects = (*fixed, *jobs)
        for step in driver.tick(moment, subjects, 0.0):
            if step.incident is None:
                continue
            run, ranked = step.incident.run, _paths(step.incident) if names else None
            if step.what == "fire":
                on[run] = Alarm(step.at, step.at, ranked, ranked)
            elif step.what in ("again", "relapse"):
                on[run] = on[run]._replace(stop=step.at, later=ranked)
            elif step.what == "clear":
                found.append(on.pop(run))
    found += on.values()
    return merged(found, CLEAR_SECONDS)


def _paths(incident: Incident) -> tuple[str, ...]:
    return tuple(each.subject.name.strip("/") for each in incident.suspects)


def judged(recording: Recording, rules: RuleSet, names: bool) -> Outcome:
    raised = alarms(recording.store, rules, names)
    return outcome(recording.events, raised, WARM_UP_SECONDS, recording.store.last_elapsed)
