"""Rules over a recording: what would have been found, by the same code as live.

    for moment, wall, subjects in ticks(recording, offline):
        for step in driver.tick(moment, subjects, wall): …

The rule: pure but for the recording. Nothing is acted on, so an incident is over when it has been
quiet for `clear`, at once. Pods have no names: a recording knows cgroups.
"""

import time
from collections.abc import Iterator, Sequence

from exporter.interference.driver import Driver, Step
from exporter.interference.metrics import name_of
from exporter.interference.model import ALL_JOBS, NODE, RuleSet, Subject, Suspect
from exporter.interference.views import Moment, replay, subjects_in
from exporter.usage.pods import Offline
from exporter.usage.store import Store

SUSPECTS_SHOWN = 3


def subjects_of(recording: Store, offline: Offline) -> tuple[Subject, ...]:
    """Whoever the recording has something of, at any time."""
    jobs = {
        name.removeprefix("slo/").partition(":")[0]
        for name, _ in recording.series()
        if name.startswith("slo/")
    }
    return (
        NODE,
        *subjects_in(recording.series(), offline.has),
        *((ALL_JOBS,) if jobs else ()),
        *(Subject("app", job) for job in sorted(jobs)),
    )


def ticks(
    recording: Store, offline: Offline
) -> Iterator[tuple[Moment, float, tuple[Subject, ...]]]:
    """Each tick with its wall time and, always the same, the subjects."""
    subjects = subjects_of(recording, offline)
    for row, moment in enumerate(replay(recording), start=recording.first):
        yield moment, recording.head(row).wall, subjects


def rehearse(recording: Store, rules: RuleSet, offline: Offline) -> Iterator[Step]:
    """Everything that happens, in order."""
    driver = Driver(rules)
    for moment, wall, subjects in ticks(recording, offline):
        yield from driver.tick(moment, subjects, wall)


def line(step: Step) -> str:
    """Wall time, what, of which rule, with whom, why; who is suspected."""
    wall = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(step.wall))}Z"
    run = f" run {step.incident.run}" if step.incident is not None else ""
    text = f"{wall} {step.what:7} {step.rule.name} on {name_of(step.subject)}{run}: {step.why}"
    suspects: Sequence[Suspect] = step.incident.suspects if step.incident is not None else ()
    if step.what != "fire" or not suspects:
        return text
    shown = [
        f"    {each.score:+.2f} {name_of(each.subject)}: {each.evidence}"
        for each in suspects[:SUSPECTS_SHOWN]
    ]
    return "\n".join((text, *shown))
