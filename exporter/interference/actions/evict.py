"""evict: asks the labeller to evict the first suspect's pod; the agent itself may not.

The rule: never kube-system, never what is not offline, at most one pod per cooldown, and a request
that nobody took is dropped when the incident is over or it is old. An eviction is not taken back.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

from exporter.clock import Clock
from exporter.interference.actions.offline import first_suspect
from exporter.interference.model import ActionSpec, Incident, Outcome

NEVER = frozenset({"kube-system"})
COOLDOWN_SECONDS = 300.0
GRACE_SECONDS = 30
_VALID_SECONDS = 120.0


class EvictionRequest(NamedTuple):
    """For POST …/pods/<pod>/eviction with `uid` as precondition (policy/v1 Eviction). `wall` is
    when it was asked, seconds since the epoch."""

    run: str
    namespace: str
    pod: str
    uid: str
    grace_seconds: int
    reason: str
    wall: float


class Evictions:
    """What is asked for now. Any thread may read it. `last` is when something was last asked for,
    monotonic seconds; None: never."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._asked: list[tuple[float, EvictionRequest]] = []
        self.last: float | None = None

    def go_on(self, last: float | None) -> None:
        """From what others before these had asked for, on the same boot."""
        self.last = last if last is None else min(last, self._clock.monotonic())

    def requests(self) -> Sequence[EvictionRequest]:
        now = self._clock.monotonic()
        with self._lock:
            self._asked = [each for each in self._asked if now - each[0] < _VALID_SECONDS]
            return [request for _, request in self._asked]

    def add(self, request: EvictionRequest) -> None:
        self.last = self._clock.monotonic()
        with self._lock:
            self._asked.append((self.last, request))

    def withdraw(self, run: str) -> int:
        """How many of this run nobody needs any more."""
        with self._lock:
            left = [each for each in self._asked if each[1].run != run]
            gone, self._asked = len(self._asked) - len(left), left
            return gone


class Evict:
    """An Action."""

    def __init__(
        self,
        evictions: Evictions,
        clock: Clock,
        dry_run: bool = True,
        cooldown: float = COOLDOWN_SECONDS,
        grace: int = GRACE_SECONDS,
    ) -> None:
        self._evictions, self._clock, self._dry_run = evictions, clock, dry_run
        self._cooldown, self._grace = cooldown, grace

    def fire(self, incident: Incident, spec: ActionSpec) -> Outcome:
        suspect = first_suspect(incident)
        if suspect is None:
            return Outcome("evict", "nothing", "no offline pod is suspected")
        namespace, _, pod = suspect.pod.partition("/")
        if not pod or not suspect.uid:
            return Outcome("evict", "refused", f"{suspect.name}: which pod it is of is not known")
        if namespace in NEVER:
            return Outcome("evict", "refused", f"{suspect.pod}: {namespace} is never evicted from")
        last = self._evictions.last
        left = 0.0 if last is None else last + self._cooldown - self._clock.monotonic()
        if left > 0:
            text = f"one was asked for, the next may be in {left:.0f} s"
            return Outcome("evict", "nothing", text)
        text = f"eviction of {suspect.pod} ({suspect.uid}) with {self._grace} s of grace"
        if self._dry_run:
            return Outcome("evict", "dry_run", f"would ask for {text}")
        reason = f"{incident.rule}: {incident.finding.text}"
        self._evictions.add(
            EvictionRequest(
                *(incident.run, namespace, pod, suspect.uid),
                *(self._grace, reason, self._clock.wall()),
            )
        )
        return Outcome("evict", "done", f"asks the labeller for {text}")

    def ease(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return Outcome("evict", "nothing", "has no steps")

    def clear(self, incident: Incident, spec: ActionSpec) -> Outcome:
        gone = self._evictions.withdraw(incident.run)
        if not gone:
            return Outcome("evict", "nothing", "nothing is asked for")
        return Outcome("evict", "done", f"{gone} request(s) withdrawn that may not have been met")
