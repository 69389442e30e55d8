"""adjust: a little less CPU, memory or I/O for offline work at each step, and a little more back.

The rule (Caelus' adjust, its numbers as they are): what is taken is clamped to [0, allocation]. An
amount is taken and given back as it is; of a fraction p the ratio is ×(1−p), then ÷(1−p), rounded
to 2 decimals. The allocation is what a cgroup was allowed when the run began, or, if that is less,
what it used then: a step from 64 free cores would be felt by nobody. Several rules: the actuator
holds the strictest.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from exporter.actuator.protocol import Answer, Knob, Look, Place, Set, Target, Undo
from exporter.interference.actions.offline import Offline, outcome, united
from exporter.interference.model import ActionSpec, Incident, Outcome, Step

LEAST_CORES = 0.1
"""A cgroup with less keeps what it holds (locks of the kernel among it) for too long."""
LEAST_BYTES = 64 << 20
LEAST_IO = 65_536.0
_LEAST_RATIO = 0.01


class _Resource(NamedTuple):
    knob: Knob
    limits: tuple[str, ...]
    least: float
    unit: str


_RESOURCES: Mapping[str, _Resource] = {
    "cpu": _Resource("cpu_quota", ("cores",), LEAST_CORES, "cores"),
    "memory": _Resource("memory_high", ("bytes",), LEAST_BYTES, "bytes"),
    "diskio": _Resource("io", ("rbps", "wbps"), LEAST_IO, "bytes/s"),
}
Used = Callable[[str, str], float | None]
"""What the cgroup at a path used lately of "cpu" (cores), "memory" (bytes), "diskio" (bytes per
second); None where nobody knows."""


@dataclass
class _Pull:
    """What one run takes of one resource. `allocation` by cgroup."""

    allocation: dict[str, float]
    taken: float = 0.0
    ratio: float = 1.0

    def take(self, step: Step) -> None:
        if step.fraction is not None:
            self.ratio = max(round(self.ratio * (1 - step.fraction), 2), _LEAST_RATIO)
        elif step.amount is not None:
            most = max(self.allocation.values(), default=0.0)
            self.taken = min(self.taken + step.amount, most)

    def give(self, step: Step) -> None:
        if step.fraction is not None:
            self.ratio = 1.0 if step.fraction >= 1 else round(self.ratio / (1 - step.fraction), 2)
            self.ratio = min(self.ratio, 1.0)
        elif step.amount is not None:
            self.taken = max(self.taken - step.amount, 0.0)

    @property
    def over(self) -> bool:
        return self.taken <= 0 and self.ratio >= 1

    def wanted(self, path: str, least: float) -> float:
        """Never less than `least`; that it is no more than what was allowed before is the
        actuator's to see to."""
        return max(self.allocation[path] * self.ratio - self.taken, least)


@dataclass
class _Run:
    pulls: dict[str, _Pull] = field(default_factory=dict)
    turn: int = 0


class Adjust:
    """An Action. One thread at a time."""

    def __init__(
        self,
        offline: Offline,
        used: Used = lambda path, resource: None,
        cores: float = float(os.cpu_count() or 1),
    ) -> None:
        self._offline, self._used, self._cores = offline, used, cores
        self._runs: dict[str, _Run] = {}

    def fire(self, incident: Incident, spec: ActionSpec) -> Outcome:
        run = self._runs.setdefault(incident.run, _Run())
        answers = []
        for step in self._due(run, spec):
            resource = _RESOURCES.get(step.resource)
            if resource is None:
                answers.append(Answer(0, refused=_unknown(step.resource)))
                continue
            pull = run.pulls.get(step.resource)
            if pull is None:
                found = self._begin(step.resource, resource)
                if isinstance(found, Answer):
                    answers.append(found)
                    continue
                pull = run.pulls[step.resource] = found
            pull.take(step)
            answers.append(self._put(incident.run, resource, pull))
        return outcome("adjust", united(answers), self._offline.dry_run)

    def ease(self, incident: Incident, spec: ActionSpec) -> Outcome:
        run = self._runs.get(incident.run)
        if run is None or not run.pulls:
            return Outcome("adjust", "nothing", "nothing is taken")
        answers = []
        for step in self._due(run, spec, back=True):
            pull, resource = run.pulls.get(step.resource), _RESOURCES.get(step.resource)
            if pull is None or resource is None:
                continue
            pull.give(step)
            if pull.over:
                del run.pulls[step.resource]
                answers.append(self._undo(incident.run, resource.knob))
            else:
                answers.append(self._put(incident.run, resource, pull))
        if not answers:
            return Outcome("adjust", "nothing", "nothing is taken of that")
        return outcome("adjust", united(answers), self._offline.dry_run)

    def clear(self, incident: Incident, spec: ActionSpec) -> Outcome:
        run = self._runs.pop(incident.run, None)
        knobs = [_RESOURCES[name].knob for name in run.pulls] if run else []
        if self._offline.dry_run:
            return Outcome("adjust", "nothing", "dry run: there is nothing to take back")
        # what an agent before this one took is not known here, so no knob is left out
        answers = [self._undo(incident.run, each) for each in knobs or _KNOBS]
        return outcome("adjust", united(answers), dry_run=False)

    def _due(self, run: _Run, spec: ActionSpec, back: bool = False) -> tuple[Step, ...]:
        if spec.op == "and" or not spec.steps:
            return spec.steps
        if back:
            run.turn -= 1
            return (spec.steps[run.turn % len(spec.steps)],)
        run.turn += 1
        return (spec.steps[(run.turn - 1) % len(spec.steps)],)

    def _begin(self, name: str, resource: _Resource) -> _Pull | Answer:
        answer = self._offline.each(lambda target: Look(knob=resource.knob, target=target))
        if answer.refused:
            return answer
        found = {place.path: self._allocation(name, place) for place in answer.places}
        known = {path: value for path, value in found.items() if value is not None}
        if not known:
            return Answer(0, refused=f"{name}: what offline work uses is not known (yet)")
        return _Pull(known)

    def _allocation(self, name: str, place: Place) -> float | None:
        used = self._used(place.path, name)
        if used is None:
            used = place.now
        allowed = place.limit
        if name == "cpu":
            allowed = min(self._cores, allowed or self._cores)
        known = [value for value in (allowed, used) if value is not None]
        return max(min(known), 0.0) if known else None

    def _put(self, run: str, resource: _Resource, pull: _Pull) -> Answer:
        pods = {pod.name.strip("/"): pod.uid for pod in self._offline.pods()}
        answers = []
        for path in pull.allocation:
            limits = dict.fromkeys(resource.limits, pull.wanted(path, resource.least))
            target, dry = Target(path, pods.get(path, "")), self._offline.dry_run
            request = Set(run=run, knob=resource.knob, target=target, limits=limits, dry=dry)
            answers.append(self._offline.ask(request))
        return united(answers)

    def _undo(self, run: str, knob: Knob) -> Answer:
        if self._offline.dry_run:
            return Answer(0)
        return self._offline.ask(Undo(run=run, knob=knob))


_KNOBS: tuple[Knob, ...] = tuple(each.knob for each in _RESOURCES.values())


def _unknown(name: str) -> str:
    return f"resource {name!r}: cannot be adjusted here, want one of {', '.join(_RESOURCES)}"
