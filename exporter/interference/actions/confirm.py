"""confirm: throttles the first suspect for a few seconds, to see whether the victim recovers.

The rule: off in a dry run and unless asked for; one suspect at a time; the actuator takes it back
by itself when the seconds are over, whatever becomes of who asked.
"""

from exporter.actuator.protocol import Set, Undo
from exporter.interference.actions.adjust import LEAST_CORES
from exporter.interference.actions.offline import Offline, first_suspect, outcome, target_of
from exporter.interference.model import Incident, Outcome

SECONDS = 5.0


class Confirm:
    """`begin`, look at the victim while it lasts, `end`. Whether it recovered is not known here."""

    def __init__(self, offline: Offline, enabled: bool = False, seconds: float = SECONDS) -> None:
        self._offline, self._enabled, self.seconds = offline, enabled, seconds
        self._busy: str | None = None

    def begin(self, incident: Incident) -> Outcome:
        """ "done": the suspect now has LEAST_CORES, for `seconds`."""
        if not self._enabled or self._offline.dry_run:
            why = "dry run" if self._enabled else "interference.confirm is off"
            return Outcome("confirm", "nothing", f"{why}: nobody is throttled to find out")
        if self._busy is not None:
            return Outcome("confirm", "nothing", f"run {self._busy} is being confirmed")
        suspect = first_suspect(incident)
        if suspect is None:
            return Outcome("confirm", "nothing", "no offline cgroup is suspected")
        answer = self._offline.ask(
            Set(
                run=_run(incident),
                knob="cpu_quota",
                target=target_of(suspect),
                limits={"cores": LEAST_CORES},
                seconds=self.seconds,
            )
        )
        found = outcome("confirm", answer, dry_run=False)
        if found.result == "done":
            self._busy = incident.run
        return found

    def end(self, incident: Incident) -> Outcome:
        """Takes it back now; safe to call when it was never begun."""
        if self._busy != incident.run:
            return Outcome("confirm", "nothing", "is not being confirmed")
        self._busy = None
        return outcome("confirm", self._offline.ask(Undo(run=_run(incident))), dry_run=False)


def _run(incident: Incident) -> str:
    return f"{incident.run}/confirm"
