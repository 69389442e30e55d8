"""The labeller's Central on a test API server, a turn at a time, with values as a test says."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from exporter.config import Duration
from exporter.kube.api import KubeApi, Object
from exporter.kube.client import KubeClient
from exporter.labeller.agent_source import AgentSource, Place, Request
from exporter.labeller.central import Central
from exporter.labeller.config import Agents, Bands, Begin, LabellerConfig
from exporter.labeller.lease import Lease
from exporter.labeller.prom_source import PromSource
from exporter.labeller.settings import CranePlan
from exporter.testing import FakeClock
from tests.cluster.apiserver import ApiServer
from tests.kube.asking import play

LEASE = "kernmesh-test-lease"
CPU = "kernmesh.io/pressure-cpu"
AT_ONCE: Mapping[str, Any] = {
    "agents": Agents(),
    "levels": Bands(mem=None, schedule=False),
    "enter": Begin(of=1, at_least=1),
    "hold": Duration("0"),
}


class Told:
    """An AgentSource that has its values from a test."""

    def __init__(self) -> None:
        self.values: dict[str, float | None] = {}
        self.statistics: dict[str, dict[str, float]] = {}
        self.evictions: dict[str, list[Request]] = {}
        self.reasons: Mapping[str, int] = {}
        self.failing = 0
        self.places: Mapping[str, Place] = {}

    async def read(self, places: Mapping[str, Place]) -> dict[str, dict[str, float | None]]:
        self.places = places
        return {node: {"cpu": value} for node, value in self.values.items()}


class Replica:
    """One Central; its informers run until the test ends."""

    def __init__(
        self, api: KubeApi, clock: FakeClock, identity: str = "", crane: CranePlan | None = None,
        prom: PromSource | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.clock, self.told, self.said = clock, Told(), list[str]()
        lease = Lease(api, clock, "default", LEASE, identity) if identity else None
        self.central = Central(
            LabellerConfig(**{**AT_ONCE, **options}),
            api,
            clock,
            lease=lease,
            prom=prom,
            agents=cast(AgentSource, self.told),
            crane=crane,
            pause=self.pause,
            show=self.said.append,
        )
        self.watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        async with asyncio.TaskGroup() as group:
            for each in self.central.informers:
                group.create_task(each.run())

    async def pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def turn(self, seconds: float = 10.0, **values: float | None) -> None:
        """A round with these values, by node, and all writes that follow."""
        for each in self.central.informers:
            await each.until_synced()
        self.told.values = {node.replace("_", "-"): value for node, value in values.items()}
        if self.central.lease is not None:
            await self.central.lease.look()
        await self.central.round()
        await self.write()
        self.clock.advance(seconds)

    async def write(self) -> None:
        while (name := self.central.keeper.next()) is not None:
            await self.central.keeper.bring(name)

    async def heard(self, sure: Callable[[], bool]) -> None:
        """Until the watch has told it."""
        async with asyncio.timeout(10):
            while not sure():
                await asyncio.sleep(0.005)


def central(server: ApiServer, test: Callable[[Replica], Awaitable[None]], **options: Any) -> None:
    async def with_client(client: KubeClient) -> None:
        replica = Replica(client, FakeClock(), **options)
        try:
            await test(replica)
        finally:
            replica.watching.cancel()

    play(server, with_client)


def put(server: ApiServer, *names: str, **meta: Any) -> None:
    for name in names:
        server.put("nodes", {"metadata": {"name": name} | meta})


def of(server: ApiServer, name: str = "node-a") -> Object:
    found = server.object("nodes", name)
    assert found is not None
    return found


def marks(server: ApiServer, name: str = "node-a") -> Mapping[str, str]:
    labels = of(server, name)["metadata"].get("labels", {})
    return {k: v for k, v in labels.items() if k.startswith("kernmesh.io/") or k == "status"}


def writes(server: ApiServer) -> list[int]:
    return [status for method, path, status in server.requests if method == "PATCH"]
