"""What actions ask of the actuator, and its answers as outcomes in one line.

The rule: an action names cgroups that it believes to be offline work; whether they are, and are
still the same, the actuator finds out for itself.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from exporter.actuator.client import Ask
from exporter.actuator.protocol import Answer, AnyRequest, Change, Target
from exporter.interference.model import ActionKind, Incident, Outcome, Subject

Verb = Literal["set", "undo"]
_SHOWN = 3


class Offline(NamedTuple):
    """`pods` are those that are offline by an annotation, at any place below kubepods; those in
    the offline cgroups are reached by these cgroups. `dry_run`: nothing is written."""

    ask: Ask
    dry_run: bool = True
    pods: Callable[[], Sequence[Subject]] = tuple

    def targets(self) -> list[Target | None]:
        """None: every offline cgroup of the configuration."""
        return [None, *(target_of(pod) for pod in self.pods())]

    def each(self, make: Callable[[Target | None], AnyRequest]) -> Answer:
        """One request per target, as one answer: refused only where all were."""
        return united([self.ask(make(target)) for target in self.targets()])


def target_of(subject: Subject) -> Target:
    return Target(subject.name.strip("/"), subject.uid)


def first_suspect(incident: Incident) -> Subject | None:
    """The likeliest that may be acted on."""
    return next((s.subject for s in incident.suspects if s.subject.work == "offline"), None)


def united(answers: Sequence[Answer]) -> Answer:
    good = [answer for answer in answers if not answer.refused]
    if not good:
        return answers[0] if answers else Answer(0, refused="no resource is named")
    return Answer(
        0,
        changes=tuple(change for answer in good for change in answer.changes),
        notes=tuple(note for answer in answers for note in (*answer.notes, answer.refused) if note),
        places=tuple(place for answer in good for place in answer.places),
    )


def outcome(kind: ActionKind, answer: Answer, dry_run: bool, verb: Verb = "set") -> Outcome:
    if answer.refused:
        return Outcome(kind, "failed" if answer.failed else "refused", answer.refused)
    notes = f"; {answer.notes[0]}" if answer.notes else ""
    if not answer.changes:
        return Outcome(kind, "nothing", f"all is as it should be{notes}")
    text = shown(answer.changes)
    if dry_run:
        return Outcome(kind, "dry_run", f"would {verb} {text}{notes}")
    return Outcome(kind, "done", f"{text}{notes}")


def shown(changes: Sequence[Change]) -> str:
    some = ", ".join(f"{each.file} {each.before} → {each.after}" for each in changes[:_SHOWN])
    return some if len(changes) <= _SHOWN else f"{some} and {len(changes) - _SHOWN} more"
