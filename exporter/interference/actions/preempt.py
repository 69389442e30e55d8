"""preempt: offline work gets a CPU only when nobody else wants it (cpu.idle), until it is over.

The rule: all or nothing, so there are no steps. Where the kernel has cpu.qos_level, that is set
instead, once, and never taken back: a task that became offline does not come back online.
"""

from exporter.actuator.protocol import Set, Undo
from exporter.interference.actions.offline import Offline, outcome
from exporter.interference.model import ActionSpec, Incident, Outcome


class Preempt:
    """An Action."""

    def __init__(self, offline: Offline) -> None:
        self._offline = offline

    def fire(self, incident: Incident, spec: ActionSpec) -> Outcome:
        dry = self._offline.dry_run
        answer = self._offline.each(
            lambda target: Set(run=incident.run, knob="preempt", target=target, dry=dry)
        )
        return outcome("preempt", answer, dry)

    def ease(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return Outcome("preempt", "nothing", "has no steps: it is taken back when it is over")

    def clear(self, incident: Incident, spec: ActionSpec) -> Outcome:
        if self._offline.dry_run:
            return Outcome("preempt", "nothing", "dry run: there is nothing to take back")
        return outcome(
            "preempt", self._offline.ask(Undo(run=incident.run, knob="preempt")), dry_run=False
        )
