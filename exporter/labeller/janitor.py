"""Takes away what agents left on nodes: marks whose heartbeat nobody renews any more.

The rule: an agent that lives changes its heartbeat; whether it does is seen by our own clock, so
that no clock of a node counts. What is not an agent's is not touched. The labeller's own marks need
none of this: the next leader takes them over.
"""

import logging
from collections.abc import Mapping

from exporter.clock import Clock
from exporter.kube.api import NODES, ApiError, KubeApi
from exporter.labeller.nodes import Known
from exporter.pressure.marks import HEARTBEAT_STALE_SECONDS, NOTHING, Marks
from exporter.pressure.plan import plan
from exporter.pressure.standing import Field, look
from exporter.pressure.writer import Writer

AGENT = "kernmesh-agent"
AGAIN_SECONDS = 60.0

log = logging.getLogger(__name__)


class Janitor:
    """`writer` writes as the agents' field manager: an apply of nothing takes away all that the
    agent has applied. `swept` counts nodes."""

    def __init__(self, api: KubeApi, writer: Writer, marks: Marks, clock: Clock) -> None:
        self._api, self._writer, self._marks, self._clock = api, writer, marks, clock
        self._seen: dict[str, tuple[str, str, float]] = {}
        self.swept = 0

    def clear(self) -> None:
        """What was seen while another led says nothing."""
        self._seen.clear()

    def stale(self, nodes: Mapping[str, Known]) -> list[str]:
        """Nodes whose heartbeat has stood unchanged for too long."""
        now = self._clock.monotonic()
        seen: dict[str, tuple[str, str, float]] = {}
        for name, known in nodes.items():
            if known.beat:
                before = self._seen.get(name)
                same = before is not None and before[:2] == (known.standing.uid, known.beat)
                since = before[2] if before is not None and same else now
                seen[name] = known.standing.uid, known.beat, since
        self._seen = seen
        return [
            name for name, (_, _, since) in seen.items() if now - since > HEARTBEAT_STALE_SECONDS
        ]

    async def sweep(self, nodes: Mapping[str, Known]) -> None:
        """Raises nothing that the API does: there is another time."""
        for name in self.stale(nodes):
            uid, beat, _ = self._seen[name]
            try:
                node = await self._api.get(NODES, name)
            except ApiError as error:
                self._writer.failed(error)
                continue
            standing = look(node, AGENT, self._marks)
            key = self._marks.heartbeat_key
            if standing.uid != uid or standing.annotations.get(key) != beat:
                continue
            if Field("annotation", key) not in standing.ours:
                continue  # somebody else's, whatever it says
            made = plan(standing, NOTHING, self._marks, self._clock.wall())
            outcome = await self._writer.write(lambda made=made: made)  # type: ignore[misc]
            if outcome.result == "written":
                self.swept += 1
                log.warning("pressure: node %s: its agent is silent, its marks are gone", name)
