"""Verdicts put to the test: the first suspect is throttled for seconds, and the victim looked at.

The rule: what touches offline work is done only for an incident of which a suspect was confirmed;
what only tells is done at once. One trial at a time, each suspect of an incident once. Who is
throttled and how is the Confirm action's; whether the victim is better is attribution's.
"""

from collections.abc import Callable, Container, Sequence
from typing import Literal, NamedTuple

from exporter.interference.actions.confirm import Confirm
from exporter.interference.actions.offline import first_suspect
from exporter.interference.attribution import recovered
from exporter.interference.model import (
    ActionSpec,
    Finding,
    Incident,
    Outcome,
    Subject,
    Suspect,
    View,
)

_TOUCHING = frozenset({"adjust", "preempt", "io", "evict"})
_GRACE_SECONDS = 0.5  # ticks come a little early
_LONGER_SECONDS = 2.0  # where too little is known, so much longer is waited


class Verdict(NamedTuple):
    """`specs` are to be done now."""

    what: Literal["confirmed", "acquitted", "undecided"]
    incident: Incident
    specs: tuple[ActionSpec, ...]
    why: str


class _Waiting(NamedTuple):
    incident: Incident
    specs: tuple[ActionSpec, ...]


class _Trial(NamedTuple):
    incident: Incident
    specs: tuple[ActionSpec, ...]
    suspect: str
    finding: Finding
    since: float


class Trials:
    """Subjects by name; seconds are elapsed ones."""

    def __init__(self, confirm: Confirm) -> None:
        self._confirm = confirm
        self._trial: _Trial | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._confirmed: dict[str, str] = {}
        self._acquitted: dict[str, set[str]] = {}

    def judged(self, incident: Incident) -> tuple[Suspect, ...]:
        """Its suspects: the confirmed one first, the acquitted left out."""
        free = self._acquitted.get(incident.run, set())
        guilty = self._confirmed.get(incident.run)
        left = [each for each in incident.suspects if each.subject.name not in free]
        return tuple(sorted(left, key=lambda each: each.subject.name != guilty))

    def now(
        self, incident: Incident, specs: Sequence[ActionSpec], now: float
    ) -> tuple[tuple[ActionSpec, ...], tuple[Outcome, ...]]:
        """What may be done at once, and what is to be said of the rest, which waits."""
        touching = tuple(spec for spec in specs if spec.kind in _TOUCHING)
        if not touching or incident.run in self._confirmed:
            return tuple(specs), ()
        telling = tuple(spec for spec in specs if spec.kind not in _TOUCHING)
        trial = self._trial
        if trial is not None and trial.incident.run == incident.run:
            return telling, ()
        self._waiting[incident.run] = _Waiting(incident, touching)
        if trial is not None:
            text = f"waits until run {trial.incident.run} is confirmed or not"
            return telling, (Outcome("confirm", "nothing", text),)
        return telling, (self._begin(incident.run, now),)

    def go_on(
        self, view: Callable[[Subject], View], now: float, standing: Container[str]
    ) -> list[Verdict]:
        """At every tick. `standing` are the runs that still fire."""
        found = []
        if self._trial is not None:
            verdict = self._look(self._trial, view, now, standing)
            if verdict is None:
                return []
            found.append(verdict)
        for run in [run for run in self._waiting if run not in standing]:
            del self._waiting[run]
        for run in list(self._waiting):
            if self._begin(run, now).result == "done":
                break
        return found

    def forget(self, incident: Incident) -> None:
        """It is over."""
        run = incident.run
        if self._trial is not None and self._trial.incident.run == run:
            self._confirm.end(incident)
            self._trial = None
        for kept in (self._waiting, self._confirmed, self._acquitted):
            kept.pop(run, None)

    def end(self) -> None:
        """No more of them."""
        if self._trial is not None:
            self.forget(self._trial.incident)

    def _begin(self, run: str, now: float) -> Outcome:
        """Waits no more: it is tried now, or cannot be."""
        waiting = self._waiting.pop(run)
        incident = waiting.incident._replace(suspects=self.judged(waiting.incident))
        said = self._confirm.begin(incident)
        suspect = first_suspect(incident)
        if said.result == "done" and suspect is not None:
            self._trial = _Trial(incident, waiting.specs, suspect.name, incident.finding, now)
        return said

    def _look(
        self,
        trial: _Trial,
        view: Callable[[Subject], View],
        now: float,
        standing: Container[str],
    ) -> Verdict | None:
        """None while it goes on."""
        incident, lasted = trial.incident, now - trial.since
        gone = incident.run not in standing
        if lasted < self._confirm.seconds - _GRACE_SECONDS and not gone:
            return None
        better = recovered(view(incident.subject), trial.finding, trial.since)
        if gone and better is None:
            better = True  # nothing of it holds any more, that is as good as it can be
        if better is None and lasted < self._confirm.seconds + _LONGER_SECONDS:
            return None
        self._confirm.end(incident)
        self._trial = None
        if better:
            self._confirmed[incident.run] = trial.suspect
            why = f"{trial.suspect} throttled for {lasted:.0f} s, and the victim recovered"
            return Verdict("confirmed", incident, trial.specs, why)
        if better is None:
            why = f"{trial.suspect} throttled for {lasted:.0f} s: too little is known of the victim"
            return Verdict("undecided", incident, (), why)
        self._acquitted.setdefault(incident.run, set()).add(trial.suspect)
        rest = incident._replace(suspects=self.judged(incident))
        if rest.suspects:
            self._waiting[incident.run] = _Waiting(rest, trial.specs)
        why = f"{trial.suspect} throttled for {lasted:.0f} s, which did not help the victim"
        return Verdict("acquitted", rest, (), why)
