"""Incidents to act on, and an actuator that only remembers what it was asked."""

from collections.abc import Callable, Sequence
from typing import Any

from exporter.actuator.protocol import Answer, AnyRequest, Change, Look, Place, Set
from exporter.interference.model import Finding, Incident, Subject, Suspect

UID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
VICTIM = Subject("container", "/kubepods/burstable/podv", "shop/web-0", "v", "online")
BATCH = Subject("container", f"/kubepods/besteffort/pod{UID}", "batch/sort-1", UID, "offline")
FINDING = Finding("cpu_pressure", 0.4, 0.1, "ratio", 100.0, "cpu pressure 40 %, limit 10 %")


def suspect(subject: Subject = BATCH, score: float = 0.9) -> Suspect:
    return Suspect(subject, score, "cpu_seconds", 12.0, f"score {score}, 12 preemptions")


def incident(run: str = "run-1", *suspects: Suspect, rule: str = "cpu") -> Incident:
    return Incident(run, rule, "warning", VICTIM, 0, FINDING, suspects, 1_800_000_000.0)


class RememberingActuator:
    """`answer` decides; without one everything is done, and changes "0 → 1"."""

    def __init__(
        self,
        answer: Callable[[AnyRequest], Answer | None] = lambda request: None,
        places: Sequence[Place] = (),
    ) -> None:
        self.asked: list[Any] = []
        self._answer, self._places = answer, tuple(places)

    def __call__(self, request: AnyRequest) -> Answer:
        self.asked.append(request)
        decided = self._answer(request)
        if decided is not None:
            return decided
        if isinstance(request, Look):
            return Answer(0, places=self._places)
        return Answer(0, changes=(Change("cpu:/kubepods/besteffort/cpu.idle", "0", "1"),))

    def limits(self, name: str) -> list[float]:
        """What was wanted of a limit, in order."""
        return [each.limits[name] for each in self.asked if isinstance(each, Set)]
