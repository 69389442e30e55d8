"""The levels of one Node's resources, from samples as they come; counts what changed.

The rule: a sample counts once, and one that did not come counts as unknown. Knows which level
follows which gauge; no clock, no Node, no API.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from exporter.pressure.levels import START, Level, Settings, State, adopted, advance

log = logging.getLogger(__name__)

GAUGES = {
    "cpu": "cpu_usage_active",
    "mem": "mem_usage_active",
    "disk": "disk_usage_active",
    "io": "disk_io_usage_active",
}
"""Which gauge decides the level of a resource; on /metrics it begins with node_."""
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


class Sampled(NamedTuple):
    """`at` tells one sample from the next; `values` are percent by gauge less `node_`, empty where
    nothing is known any more."""

    at: float
    values: Mapping[str, float]


class Sampling:
    """`gauges` by resource: which decides. `interval` is how often there is a sample, in seconds.
    `schedule_wanted` None: not known."""

    def __init__(
        self,
        deciding: Deciding,
        gauges: Mapping[str, str],
        interval: float,
        sampled: Callable[[], Sampled],
        schedule_wanted: Callable[[], bool | None],
        now: float,
    ) -> None:
        self.deciding = deciding
        self._gauges, self._interval = gauges, interval
        self._sampled, self._schedule_wanted = sampled, schedule_wanted
        self._last: float | None = None
        self._last_at = now

    def value(self, gauge: str) -> float | None:
        """As it is now; None where unknown."""
        return self._sampled().values.get(gauge)

    def look(self, now: float) -> None:
        """Takes the newest sample, if it is another than the last. To be called oftener than
        samples come."""
        sampled = self._sampled()
        if sampled.values and sampled.at != self._last:
            self._last, self._last_at = sampled.at, now
            values = {name: sampled.values.get(gauge) for name, gauge in self._gauges.items()}
            self.deciding.advance(now, values)
        elif now - self._last_at >= 1.5 * self._interval:
            self._last_at = now
            self.deciding.advance(now, dict.fromkeys(self._gauges))
        if SCHEDULE in self.deciding.states:
            asked = self._schedule_wanted()
            self.deciding.advance(now, {SCHEDULE: None if asked is None else float(asked)})
