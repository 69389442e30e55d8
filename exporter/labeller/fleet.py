"""The levels of all nodes, from rounds of values; which changed, and how many are what. Pure.

The rule: the same hysteresis as an agent's own (pressure/levels.py). A value that a round does not
have is unknown, whatever the reason; nothing is calm for want of an answer.
"""

import logging
from collections.abc import Iterable, Mapping

from exporter.pressure.levels import START, Level, Settings, State, adopted, advance

Readings = Mapping[str, Mapping[str, float | None]]
"""By node and resource."""

log = logging.getLogger(__name__)


class Fleet:
    """`tally`, `transitions` and `known_at` are replaced, never changed, so any thread may read
    them; the rest is its loop's. `known_at`: when each resource last had a value of any node."""

    def __init__(self, settings: Mapping[str, Settings]) -> None:
        self.settings = settings
        self._states: dict[str, dict[str, State]] = {}
        self.tally: Mapping[tuple[str, Level], int] = {}
        self.transitions: Mapping[tuple[str, Level], int] = {}
        self.known_at: Mapping[str, float] = {}

    def configure(self, settings: Mapping[str, Settings]) -> None:
        """Resources that stay keep their levels; those that are new are unknown."""
        self.settings = settings
        for node, states in self._states.items():
            self._states[node] = {each: states.get(each, START) for each in settings}

    def clear(self) -> None:
        self._states.clear()

    def forget(self, node: str) -> None:
        self._states.pop(node, None)

    def adopt(self, node: str, resources: Iterable[str], now: float) -> None:
        """Its marks of ours stand already: no change, but what was not known to be one."""
        states = self._of(node)
        for each in resources:
            if each in states and states[each].level != "pressed":
                states[each] = adopted(now)

    def levels(self, node: str) -> Mapping[str, Level]:
        """By resource, in the order of the settings."""
        return {resource: state.level for resource, state in self._of(node).items()}

    def advance(self, now: float, nodes: Iterable[str], readings: Readings) -> list[str]:
        """One round; the nodes of which a level changed."""
        changed: list[str] = []
        settings = tuple(self.settings.items())
        tally = {(each, level): 0 for each in self.settings for level in _LEVELS}
        known_at, nothing = dict(self.known_at), dict[str, float | None]()
        for node in nodes:
            states, values = self._of(node), readings.get(node, nothing)
            for resource, of_resource in settings:
                before, value = states[resource], values.get(resource)
                states[resource] = after = advance(before, now, value, of_resource)
                tally[resource, after.level] += 1
                if value is not None:
                    known_at[resource] = now
                if after.level != before.level:
                    self._told(node, resource, before.level, after.level, value)
                    if not changed or changed[-1] != node:
                        changed.append(node)
        self.tally, self.known_at = tally, known_at
        return changed

    def _of(self, node: str) -> dict[str, State]:
        states = self._states.get(node)
        if states is None:
            states = self._states[node] = dict.fromkeys(self.settings, START)
        return states

    def _told(self, node: str, resource: str, was: Level, now: Level, value: float | None) -> None:
        key = resource, now
        self.transitions = {**self.transitions, key: self.transitions.get(key, 0) + 1}
        if was == "unknown" and now == "calm":  # every node's first value
            return
        log.info(
            "pressure: level changed",
            extra={"node": node, "resource": resource, "was": was, "is": now}
            | ({} if value is None else {"value": value}),
        )


_LEVELS: tuple[Level, ...] = ("calm", "pressed", "unknown")
