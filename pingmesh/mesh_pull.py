"""Agents' results, pulled from their own /metrics.

The rule: who does not answer is silent, not well.
"""

import asyncio
from collections import deque
from collections.abc import Mapping

from exporter.clock import Clock
from exporter.errors import KernmeshError
from exporter.httpclient import Opened, fetch
from exporter.threads import in_thread
from pingmesh.controller_config import MeshConfig
from pingmesh.mesh import Report
from pingmesh.mesh_client import make_client
from pingmesh.mesh_results import NAMES, Asked, recent_of
from pingmesh.mesh_scrapes import Snapshot, report, snapshot

MAX_BYTES = 8 << 20


class Pulled:
    """Every agent's /metrics, `concurrency` at a time; snapshots of the window are kept."""

    def __init__(self, config: MeshConfig, clock: Clock) -> None:
        self.problem: str | None = None
        self._config = config
        self._clock = clock
        self._taken: dict[str, deque[Snapshot]] = {}
        self._client = make_client(config)

    async def read(self, asked: Asked) -> Mapping[str, Report]:
        most = self._config.pull_at_most
        if len(asked.addresses) > most:
            self.problem = (
                f"{len(asked.addresses)} agents are more than mesh.pull_at_most ({most}): set "
                "mesh.prometheus, which pulls them anyway"
            )
            return {}
        try:
            opened = await self._client.open()
        except KernmeshError as error:
            self.problem = str(error)
            return {}
        gate = asyncio.Semaphore(self._config.concurrency)
        reasons: dict[str, int] = {}

        async def one(name: str, address: str) -> None:
            async with gate:
                try:
                    text = await self._pull(opened, address)
                except KernmeshError as error:
                    reasons[str(error)] = reasons.get(str(error), 0) + 1
                    return
            # Splitting lines is what takes the time: the loop has pinglists to serve.
            at = self._clock.monotonic()
            taken = await in_thread(lambda: snapshot(text, at, asked), "mesh")
            self._taken.setdefault(name, deque()).append(taken)

        async with asyncio.TaskGroup() as group:
            for name, address in asked.addresses.items():
                group.create_task(one(name, address))
        now = self._clock.monotonic()
        self._forget(now, asked)
        heard = {}
        for name, taken in self._taken.items():
            found = (
                report(name, list(taken), recent_of(self._config))
                if now - taken[-1].at <= 2 * self._config.every
                else None
            )
            if found is not None:
                heard[name] = found
        self.problem = None
        if reasons and len(asked.addresses) == sum(reasons.values()):
            reason = max(reasons, key=lambda text: reasons[text])
            self.problem = f"no agent answers on port {self._config.agent_port}: {reason}"
        return heard

    async def close(self) -> None:
        await self._client.close()

    def _forget(self, now: float, asked: Asked) -> None:
        for name in list(self._taken):
            taken = self._taken[name]
            # One that is older stays, to count from.
            while len(taken) > 1 and taken[1].at < now - self._config.window:
                taken.popleft()
            if name not in asked.addresses or taken[-1].at < now - self._config.window:
                del self._taken[name]

    async def _pull(self, opened: Opened, address: str) -> str:
        """Raises KernmeshError."""
        host = f"[{address}]" if ":" in address else address
        query = "&".join(f"name[]={name}" for name in NAMES)
        where = f"{self._config.agent_scheme}://{host}:{self._config.agent_port}"
        url = f"{where}/metrics?{query}"
        body = await fetch(opened, url, self._config.timeout, MAX_BYTES)
        return body.decode(errors="replace")
