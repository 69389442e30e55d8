"""Pressure on the own Node as a part of the agent: levels from usage, marks through the API.

Imports what talks to Kubernetes only where labelling is on.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.clock import Clock
from exporter.config import AgentConfig
from exporter.config.agent import Level, Pressure
from exporter.errors import ConfigError
from exporter.metrics.registry import Named
from exporter.pages.section import UNKNOWN, Cell, Mood, Section
from exporter.parts.part import Part
from exporter.role import Start
from exporter.usage.history import names_of

if TYPE_CHECKING:
    from exporter.kube.api import KubeApi
    from exporter.pressure.crane import Crane
    from exporter.pressure.facts import Requests
    from exporter.pressure.own_node import OwnNode

SETTLE_INTERVALS = 3.0
"""Of usage.interval: gauges that are there at all are there by then."""

DRY = "Dry run: nothing is written to the Node."
_MOODS: Mapping[str, Mood] = {"calm": "on", "pressed": "off", "unknown": "soft"}

log = logging.getLogger(__name__)

Sample = Callable[[], tuple[float, Mapping[str, float]]]


class PressurePart(Part):
    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        sampled: Sample,
        schedule_wanted: Callable[[], bool | None],
    ) -> None:
        """`sampled` answers the newest tick and its gauges; `schedule_wanted` whether
        interference asks to send no more work here, None where that is unknown."""
        self._config, self._sampled = config, sampled
        self._problems: tuple[str, ...] = ()
        self._node: OwnNode | None = None
        if config.pressure.enabled:
            self._node = self._make(clock, sampled, schedule_wanted)

    def collectors(self) -> Iterable[Named]:
        if self._node is not None:
            yield "pressure_levels", self._node

    async def run(self, start: Start) -> None:
        if self._node is not None:
            await self._node.run()

    def needs_restart(self, before: AgentConfig, now: AgentConfig) -> Iterable[str]:
        if before.pressure != now.pressure:
            yield "pressure"

    def sections(self) -> Iterator[Section]:
        if self._node is None:
            return
        from exporter.pressure.deciding import GAUGES

        states, gauges = self._node.deciding.states, self._sampled()[1]
        limits = chosen(self._config.pressure)
        rows = []
        for resource, state in states.items():
            value, limit = gauges.get(GAUGES.get(resource, "")), limits.get(resource)
            rows.append(
                (
                    resource,
                    Cell(state.level, _MOODS[state.level]),
                    UNKNOWN if value is None else f"{value:.2f} %",
                    "on request" if limit is None else f"{limit.high:g} % / {limit.low:g} %",
                )
            )
        yield Section(
            "pressure",
            "Pressure",
            ("Resource", "Level", "Now", "Begins over / ends under"),
            tuple(rows),
            empty="No level is configured.",
            note=DRY if self._config.pressure.dry_run else "",
            urgent=any(state.level == "pressed" for state in states.values()),
        )

    def problems(self) -> Iterator[str]:
        yield from self._problems
        if self._node is not None:
            yield from self._node.problems()

    def _make(
        self, clock: Clock, sampled: Sample, schedule_wanted: Callable[[], bool | None]
    ) -> "OwnNode":
        from exporter.pressure.deciding import (
            GAUGES,
            SCHEDULE,
            Deciding,
            Sampled,
            Sampling,
            request_settings,
        )
        from exporter.pressure.facts import Requests
        from exporter.pressure.levels import Settings
        from exporter.pressure.marks import Marks
        from exporter.pressure.own_node import OwnNode, Subject

        pressure = self._config.pressure
        assert pressure.node is not None  # load_agent has seen to that
        interval = float(self._config.usage.interval)
        hold, expire = float(pressure.hold), float(pressure.expire_after)
        enter = pressure.enter
        levels = chosen(pressure)
        settings = {
            resource: Settings(level.high, level.low, enter.of, enter.at_least, hold, expire)
            for resource, level in levels.items()
        }
        if pressure.levels.schedule:
            settings[SCHEDULE] = request_settings(expire)
        requests = Requests()
        return OwnNode(
            Subject(
                pressure.node,
                SETTLE_INTERVALS * interval,
                Marks(
                    pressure.keys.prefix,
                    legacy_status=pressure.keys.legacy_status,
                    condition=pressure.condition,
                    taint=pressure.taint,
                ),
                self._crane(),
                pressure.dry_run,
                pressure.clear_on_stop,
            ),
            Sampling(
                Deciding(settings),
                {resource: GAUGES[resource] for resource in levels},
                interval,
                lambda: Sampled(*sampled()),
                schedule_wanted,
                clock.monotonic(),
            ),
            clock,
            lambda: _connect(pressure, clock, requests),
            requests=requests,
        )

    def _crane(self) -> "Crane | None":
        """A policy that is wrong costs the annotations, no label."""
        pressure = self._config.pressure
        if pressure.crane_policy is None:
            return None
        from zoneinfo import ZoneInfo

        from exporter.pressure.annotations import check_policy, read_policy
        from exporter.pressure.crane import Crane

        path, computed = Path(pressure.crane_policy), names_of(self._config.usage)
        self._problems = tuple(
            f"pressure.crane_policy: {each}" for each in check_policy(path, computed)
        )
        for problem in self._problems:
            log.warning(problem)
        try:
            policy = read_policy(path)
        except ConfigError:
            return None
        periods = {each.name: float(each.period) for each in self._config.usage.metrics}
        periods |= {each.name: float(each.period) for each in policy.spec.sync_policy}
        known = {name: period for name, period in periods.items() if name in computed}
        return Crane(known, ZoneInfo(pressure.crane_timezone))


def chosen(pressure: Pressure) -> Mapping[str, Level]:
    """The levels that follow a gauge, by resource."""
    from exporter.pressure.deciding import GAUGES

    levels = {resource: getattr(pressure.levels, resource) for resource in GAUGES}
    return {resource: level for resource, level in levels.items() if level is not None}


def _connect(pressure: Pressure, clock: Clock, observe: "Requests") -> "KubeApi":
    """Raises KernmeshError."""
    from exporter.kube.access import find_access
    from exporter.kube.client import KubeClient

    file = pressure.kubeconfig
    access = find_access(Path(file) if file else None)
    return KubeClient(access, clock, role="agent", observe=observe)
