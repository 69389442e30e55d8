"""What one Node's crane annotations should be now, each at its own period.

    Writing.fresh(now, …) ─▶ texts to write ─▶ Writing.written(…) once they stand

Knows no Node and no API; the policy and the form of a value are annotations.py's.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from zoneinfo import ZoneInfo

from exporter.pressure.annotations import Due, as_annotation

TOGETHER_SECONDS = 10.0
"""What is due so soon after another is written with it: one write instead of two."""


class Crane(NamedTuple):
    """`periods` in seconds by name ("cpu_usage_avg_5m")."""

    periods: Mapping[str, float]
    zone: ZoneInfo


class Writing:
    """`texts` are what stands, as far as we know; new at each change."""

    def __init__(self, crane: Crane) -> None:
        self._crane = crane
        self._due = Due()
        self.texts: Mapping[str, str] = {}

    def adopt(self, texts: Mapping[str, str]) -> None:
        """Ours that stand already: they stay where their values are unknown."""
        self.texts = {k: v for k, v in texts.items() if k in self._crane.periods} | {**self.texts}

    def fresh(
        self, now: float, wall: float, value: Callable[[str], float | None]
    ) -> Mapping[str, str]:
        """Those that are due, by name; empty where none is. A value that is unknown leaves what
        stands, which crane takes for stale when its time has come."""
        periods = self._crane.periods
        if not self._due.names(now, periods):
            return {}
        values = {name: value(name) for name in self._due.names(now + TOGETHER_SECONDS, periods)}
        zone = self._crane.zone
        return {k: as_annotation(v, wall, zone) for k, v in values.items() if v is not None}

    def written(self, notes: Mapping[str, str], now: float) -> None:
        """All annotations of ours that stand now; those that are new were due."""
        ours = {k: v for k, v in notes.items() if k in self._crane.periods}
        new = [name for name, text in ours.items() if self.texts.get(name) != text]
        self.texts, self._due = ours, self._due.after(new, now)
