"""The levels of one Node's resources, from samples as they come; counts what changed.

Knows which level follows which gauge; no clock, no Node, no API.
"""

import logging
from collections.abc import Iterable, Mapping

from exporter.pressure.levels import START, Level, Settings, State, adopted, advance

log = logging.getLogger(__name__)

SCHEDULE = "schedule"
"""The level that follows interference's request to send no more work here."""


def request_settings(expire_after: float) -> Settings:
    """Of a level that follows a request: who asks has waited enough already."""
    return Settings(0.5, 0.5, of=1, at_least=1, hold=0.0, expire_after=expire_after)


class Deciding:
    """`settings` by resource. What it has is replaced, never changed, so any thread may read."""

    def __init__(self, settings: Mapping[str, Settings]) -> None:
        self._settings = settings
        self.states: Mapping[str, State] = dict.fromkeys(settings, START)
        self.transitions: Mapping[tuple[str, Level], int] = {}

    @property
    def levels(self) -> Mapping[str, Level]:
        return {resource: state.level for resource, state in self.states.items()}

    def adopt(self, resources: Iterable[str], now: float) -> None:
        """Their marks of ours stand already; no change, but what was not known to be one."""
        found = {each: adopted(now) for each in resources if each in self._settings}
        pressed = {each for each, state in self.states.items() if state.level == "pressed"}
        self.states = {**self.states, **{k: v for k, v in found.items() if k not in pressed}}

    def advance(self, now: float, values: Mapping[str, float | None]) -> None:
        """`values` by resource, None where unknown; resources that are not in it stay as they
        are."""
        states = dict(self.states)
        for resource, value in values.items():
            before = states[resource]
            states[resource] = after = advance(before, now, value, self._settings[resource])
            if after.level == before.level:
                continue
            key = resource, after.level
            self.transitions = {**self.transitions, key: self.transitions.get(key, 0) + 1}
            log.info(
                "pressure: level changed",
                extra={"resource": resource, "was": before.level, "is": after.level}
                | ({} if value is None else {"value": value}),
            )
        self.states = states
