"""Agents' results, asked of a Prometheus that scrapes them.

The rule: one that answers badly gives nothing and says why. Series are joined with agents by one
label, which holds a name or an address, with a port or without.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TypedDict

from exporter.errors import KernmeshError
from exporter.httpclient import fetch
from exporter.threads import in_thread
from pingmesh.controller_config import MeshConfig
from pingmesh.mesh import Report, Tally
from pingmesh.mesh_client import make_client
from pingmesh.mesh_results import (
    FAIL,
    LOST,
    PROBES,
    RTT,
    STAMP,
    Asked,
    Labels,
    is_count,
    rack_of,
    recent_of,
)
from pingmesh.mesh_scrapes import EMPTY, between, packed
from pingmesh.topology import RackId

MAX_BYTES = 256 << 20
"""Of one query's answer: a million series."""

log = logging.getLogger(__name__)


class _Series(TypedDict):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(TypedDict):
    result: list[_Series]


class _Answer(TypedDict):
    data: _Data


class Prometheus:
    """The same from Prometheus' HTTP API: increases over the window, by agent and rack."""

    def __init__(self, url: str, config: MeshConfig) -> None:
        self.problem: str | None = None
        self._url = url.rstrip("/")
        self._config = config
        self._client = make_client(config)

    async def read(self, asked: Asked) -> Mapping[str, Report]:
        try:
            found = await self._ask(asked)
        except KernmeshError as error:
            if self.problem != str(error):
                log.warning("mesh: %s", error)
            self.problem = str(error)
            return {}
        self.problem = None
        return found

    async def _ask(self, asked: Asked) -> Mapping[str, Report]:
        window, label = f"{self._config.window:.0f}s", self._config.node_label
        probe = f'probe="{asked.probe}"'
        by = f"{label},target_zone,target_rack"
        sent = await self._query(f"sum by({by})(increase({PROBES}{{{probe}}}[{window}]))")
        lost = await self._query(f"sum by({by})(increase({LOST}{{{probe}}}[{window}]))")
        slow = await self._query(f"sum by({by},le)(increase({RTT}{{{probe}}}[{window}]))")
        now = f"{recent_of(self._config):.0f}s"
        sent_now = await self._query(f"sum by({by})(increase({PROBES}{{{probe}}}[{now}]))")
        lost_now = await self._query(f"sum by({by})(increase({LOST}{{{probe}}}[{now}]))")
        failing = await self._query(f"count_over_time({FAIL}[{window}])")
        scrapes = await self._query(f"max by({label})(count_over_time({STAMP}[{window}]))")
        return await in_thread(
            lambda: gathered(sent, lost, slow, failing, scrapes, sent_now, lost_now, label, asked),
            "mesh",
        )

    async def _query(self, query: str) -> list[tuple[Labels, float]]:
        """An instant vector. Raises KernmeshError."""
        import msgspec

        where = f"{self._url}/api/v1/query"
        form = {"query": query}
        try:
            body = await fetch(
                await self._client.open(), where, self._config.timeout, MAX_BYTES, form
            )
            found = msgspec.json.decode(body, type=_Answer)
            return [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]
        except KernmeshError as error:
            raise KernmeshError(f"{where}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise KernmeshError(f"{where}: no answer of Prometheus: {error}") from error

    async def close(self) -> None:
        await self._client.close()


def gathered(
    sent: Iterable[tuple[Labels, float]],
    lost: Iterable[tuple[Labels, float]],
    slow: Iterable[tuple[Labels, float]],
    failing: Iterable[tuple[Labels, float]],
    scrapes: Iterable[tuple[Labels, float]],
    sent_now: Iterable[tuple[Labels, float]],
    lost_now: Iterable[tuple[Labels, float]],
    label: str,
    asked: Asked,
) -> dict[str, Report]:
    """Instant vectors as reports. `label` names the agent, by name or address, with a port or
    without."""
    agents = {address: name for name, address in asked.addresses.items()}
    agents.update((name, name) for name in asked.addresses)

    def known(
        rows: Iterable[tuple[Labels, float]],
    ) -> Iterator[tuple[str, RackId | None, Labels, float]]:
        for labels, value in rows:
            agent = agents.get(_host(labels.get(label, "")))
            if agent is not None and is_count(value):
                yield agent, rack_of(labels, asked), labels, value

    def tallied(
        sent: Iterable[tuple[Labels, float]], lost: Iterable[tuple[Labels, float]]
    ) -> dict[str, dict[RackId, Tally]]:
        losses = {(agent, rack): value for agent, rack, _, value in known(lost)}
        racks: dict[str, dict[RackId, Tally]] = {}
        for agent, rack, _, value in known(sent):
            if rack is not None and value > 0:
                racks.setdefault(agent, {})[rack] = Tally(
                    value,
                    min(value, losses.get((agent, rack), 0.0)),
                    between(EMPTY, packed(bounds.get((agent, rack), {}))),
                )
        return racks

    bounds: dict[tuple[str, RackId | None], dict[float, float]] = {}
    for agent, rack, labels, value in known(slow):
        with suppress(ValueError):  # no bound of a histogram
            bounds.setdefault((agent, rack), {})[float(labels.get("le", "inf"))] = value
    rounds = {agent: int(value) for agent, _, _, value in known(scrapes)}
    failed: dict[str, dict[str, int]] = {}
    for agent, _, labels, value in known(failing):
        failed.setdefault(agent, {})[labels.get("target", "")] = int(value)
    recent = tallied(sent_now, lost_now)
    return {
        agent: Report(
            agent, found, rounds.get(agent, 0), failed.get(agent, {}), recent.get(agent, {})
        )
        for agent, found in tallied(sent, lost).items()
    }


def _host(instance: str) -> str:
    """Without its port, and an IPv6 address without its brackets."""
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    return instance if instance.count(":") > 1 else instance.partition(":")[0]
