"""io: the first suspect, or all offline work where there is none, may do so much I/O and no more.

The rule: only devices that the cgroup has used are limited, by io.max or v1's blkio.throttle.
v1 does not see buffered writes, and limits each cgroup below for itself.
"""

from exporter.actuator.protocol import LIMITS, Set, Target, Undo
from exporter.interference.actions.offline import Offline, first_suspect, outcome, target_of
from exporter.interference.model import ActionSpec, Incident, Outcome


class ThrottleIo:
    """An Action."""

    def __init__(self, offline: Offline) -> None:
        self._offline = offline

    def fire(self, incident: Incident, spec: ActionSpec) -> Outcome:
        limits = dict(spec.limits)
        if not limits or limits.keys() - LIMITS["io"]:
            want = ", ".join(sorted(LIMITS["io"]))
            return Outcome("io", "refused", f"limits: got {sorted(limits)}, want some of {want}")
        dry = self._offline.dry_run

        def request(target: Target | None) -> Set:
            return Set(run=incident.run, knob="io", target=target, limits=limits, dry=dry)

        suspect = first_suspect(incident)
        if suspect is not None:
            answer = self._offline.ask(request(target_of(suspect)))
        else:
            answer = self._offline.each(request)
        return outcome("io", answer, dry)

    def ease(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return Outcome("io", "nothing", "has no steps: it is taken back when it is over")

    def clear(self, incident: Incident, spec: ActionSpec) -> Outcome:
        if self._offline.dry_run:
            return Outcome("io", "nothing", "dry run: there is nothing to take back")
        return outcome("io", self._offline.ask(Undo(run=incident.run, knob="io")), dry_run=False)
