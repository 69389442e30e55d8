"""Values from the nodes' agents: a round asks each for /statistics, and for /interference.

The rule: an agent that answers badly is one node of which nothing is known, whatever it says. One
that keeps failing is asked seldom, so that a dead rack does not make every round long.
"""

import asyncio
import logging
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from exporter.errors import KernmeshError
from exporter.filestamp import Stamp
from exporter.identity import BadFile, Identity
from exporter.labeller.config import Agents
from exporter.labeller.lean_http import PLAIN, Manner, Reply, get_all
from exporter.labeller.prom_source import Values
from exporter.pressure.deciding import SCHEDULE
from exporter.threads import in_thread

MAX_BYTES = 1 << 20
SECTION = "agents"
PATIENCE, SELDOM = 3, 6
"""After so many failures in a row an agent is asked in one of so many rounds."""
STUCK = 8
"""Rounds in which an agent's detection, which ticks every second, says the same time: it hangs."""

log = logging.getLogger(__name__)


class Request(Struct, frozen=True):
    """An eviction that an agent asks for."""

    namespace: str = ""
    pod: str = ""
    uid: str = ""
    grace_seconds: int = 30
    reason: str = ""
    run: str = ""


class _Interference(Struct, frozen=True):
    """What of exporter/interference/answer.py is acted on; `time` 0 is before its first tick."""

    enabled: bool = False
    time: float = 0.0
    schedule: bool = False
    evictions: tuple[Request, ...] = ()


_STATISTICS = msgspec.json.Decoder(dict[str, float])
_INTERFERENCE = msgspec.json.Decoder(_Interference)


class _Tick(NamedTuple):
    """The time that a node's detection said, and the round in which it said so first."""

    time: float
    round: int


class Place(NamedTuple):
    host: str
    port: int


class AgentSource:
    """`gauges` by resource: which value of /statistics decides. `statistics` are the last round's
    values by node and name, `evictions` what agents ask for now; both new each round."""

    def __init__(self, config: Agents, gauges: Mapping[str, str]) -> None:
        self._config, self._gauges = config, gauges
        self._paths = ("/statistics", "/interference") if config.interference else ("/statistics",)
        self._identity = Identity(SECTION, config.tls, config.bearer_token_file, config.basic_auth)
        self._manner = PLAIN
        self._stamps: Mapping[str, Stamp] = {}
        self._failures: dict[str, int] = {}
        self._ticks: dict[str, _Tick] = {}
        self._rounds = 0
        self.statistics: Mapping[str, Mapping[str, float]] = {}
        self.evictions: Mapping[str, Sequence[Request]] = {}
        self.reasons: Mapping[str, int] = {}
        """Why agents failed in the last round, and how many did."""

    @property
    def failing(self) -> int:
        return len(self._failures)

    async def read(self, places: Mapping[str, Place]) -> Values:
        self._rounds += 1
        values: Values = {}
        statistics: dict[str, Mapping[str, float]] = {}
        evictions: dict[str, Sequence[Request]] = {}
        reasons = Counter[str]()
        due = iter([each for each in places.items() if self._is_due(each[0])])
        try:
            if self._config.scheme == "https":
                self._manner = await in_thread(self._present, "agents' files")
        except BadFile as error:  # it is no agent's fault
            due, reasons = iter(()), Counter({str(error): len(places)})

        async def worker() -> None:
            for node, place in due:
                try:
                    found, wants = await self._one(place)
                except KernmeshError as error:
                    reasons[str(error)] += 1
                    self._failures[node] = self._failures.get(node, 0) + 1
                    continue
                self._failures.pop(node, None)
                statistics[node] = found
                of_node: dict[str, float | None] = {
                    resource: found.get(gauge) for resource, gauge in self._gauges.items()
                }
                if wants is not None:
                    hangs, early = self._hangs(node, wants), wants.enabled and not wants.time
                    of_node[SCHEDULE] = None if hangs or early else float(wants.schedule)
                    if wants.evictions and not hangs:
                        evictions[node] = wants.evictions
                values[node] = of_node

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._config.concurrency, len(places))):
                group.create_task(worker())
        for known in (self._failures, self._ticks):
            for node in [each for each in known if each not in places]:
                del known[node]
        if reasons and reasons != self.reasons:
            most, count = reasons.most_common(1)[0]
            log.info("%d of %d agents fail: %s (%d)", reasons.total(), len(places), most, count)
        self.statistics, self.evictions, self.reasons = statistics, evictions, reasons
        return values

    def _present(self) -> Manner:
        """By what the files say now. Blocks. Raises BadFile."""
        seen, context = self._identity.look(), self._manner.context
        if context is None or seen.stamps != self._stamps:
            context = self._identity.context()
            self._stamps = seen.stamps
        name = self._config.tls.server_name or ""
        return Manner(context, name, seen.headers, SECTION)

    def _hangs(self, node: str, wants: _Interference) -> bool:
        before = self._ticks.get(node)
        if before is None or before.time != wants.time:
            before = self._ticks[node] = _Tick(wants.time, self._rounds)
        return wants.enabled and self._rounds - before.round >= STUCK

    def _is_due(self, node: str) -> bool:
        if self._failures.get(node, 0) < PATIENCE:
            return True
        return (zlib.crc32(node.encode()) + self._rounds) % SELDOM == 0

    async def _one(self, place: Place) -> tuple[Mapping[str, float], _Interference | None]:
        """Raises KernmeshError. No interference is None; where an agent has no such page, it asks
        for nothing."""
        most, seconds = MAX_BYTES, float(self._config.timeout)
        answers = await get_all(*place, self._paths, most, seconds, self._manner)
        first = answers[0]
        if not isinstance(first, bytes):
            raise KernmeshError(f"/statistics: {first}")
        try:
            found = _STATISTICS.decode(first)
        except (ValueError, RecursionError):
            raise KernmeshError("/statistics: no object of numbers") from None
        if not all(0 <= value <= 100 for value in found.values()):
            raise KernmeshError("/statistics: no percentages")
        wants: _Interference | None = None
        for answer in answers[1:]:
            if isinstance(answer, bytes):
                try:
                    wants = _INTERFERENCE.decode(answer)
                except (ValueError, RecursionError):
                    wants = None
            elif isinstance(answer, Reply) and answer.status == 404:
                wants = _Interference()
        return found, wants
