"""schedule: asks that no more work be sent here, as long as one incident wants that.

The rule: a flag that others read (/interference, the labeller); nothing is written by us.
"""

import threading
from collections.abc import Mapping

from exporter.interference.model import ActionSpec, Incident, Outcome


class ScheduleFlag:
    """Any thread may read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reasons: dict[str, str] = {}

    @property
    def wanted(self) -> bool:
        return bool(self._reasons)

    def reasons(self) -> Mapping[str, str]:
        """By run, why."""
        with self._lock:
            return dict(self._reasons)

    def raise_for(self, run: str, reason: str) -> bool:
        """Whether it is new."""
        with self._lock:
            new = run not in self._reasons
            self._reasons[run] = reason
            return new

    def lower_for(self, run: str) -> bool:
        """Whether it was up for this run."""
        with self._lock:
            return self._reasons.pop(run, None) is not None


class Schedule:
    """An Action."""

    def __init__(self, flag: ScheduleFlag, dry_run: bool = True) -> None:
        self._flag, self._dry_run = flag, dry_run

    def fire(self, incident: Incident, spec: ActionSpec) -> Outcome:
        up = len(self._flag.reasons())
        if self._dry_run:
            return Outcome(
                "schedule", "dry_run", f"would ask to send no more work here ({up} ask already)"
            )
        if not self._flag.raise_for(incident.run, f"{incident.rule}: {incident.finding.text}"):
            return Outcome("schedule", "nothing", "is asked for already")
        return Outcome("schedule", "done", f"asks to send no more work here ({up + 1} ask now)")

    def ease(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return Outcome("schedule", "nothing", "has no steps: it is taken back when it is over")

    def clear(self, incident: Incident, spec: ActionSpec) -> Outcome:
        if not self._flag.lower_for(incident.run):
            return Outcome("schedule", "nothing", "was not asked for")
        return Outcome("schedule", "done", f"asks no more ({len(self._flag.reasons())} ask still)")
