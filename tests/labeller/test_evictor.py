"""Evictions on request: whose pod, how often, and whose no counts."""

import asyncio
from typing import Any

import pytest

from exporter.config import Duration
from exporter.kube.api import Resource
from exporter.kube.client import KubeClient
from exporter.labeller.agent_source import Request
from exporter.labeller.evictor import MIRROR, Evictor
from exporter.testing import FakeClock
from tests.cluster.apiserver import ApiServer
from tests.cluster.faults import Fault
from tests.kube.asking import play
from tests.labeller.playing import Replica, central, put

BUDGETS = Resource("policy", ("v1", "v1beta1"), "poddisruptionbudgets", namespaced=True)


def pod(server: ApiServer, name: str, on: str = "node-a", place: str = "batch", **meta: Any) -> str:
    body = {
        "metadata": {"name": name} | meta,
        "spec": {"nodeName": on, "containers": [{"name": "a", "image": "registry.example/a"}]},
    }
    uid: str = server.put("pods", body, place)["metadata"]["uid"]
    return uid


def asks(name: str, uid: str, place: str = "batch") -> dict[str, list[Request]]:
    return {"node-a": [Request(place, name, uid, 0, "cpu")]}


def evictor(client: KubeClient, clock: FakeClock, leads: bool = True, **options: Any) -> Evictor:
    async def fence() -> bool:
        return leads

    return Evictor(client, clock, fence, cooldown=300.0, **options)


def test_one_pod_goes_per_cooldown(server: ApiServer) -> None:
    uids = [pod(server, name) for name in "ab"]

    async def test(client: KubeClient) -> None:
        clock = FakeClock()
        one = evictor(client, clock)
        both = {"node-a": [Request("batch", n, u, 0) for n, u in zip("ab", uids, strict=True)]}
        await one.serve(both)
        await one.serve(both)
        assert [server.object("pods", name, "batch") is None for name in "ab"] == [True, False]
        clock.advance(300.0)
        await one.serve(both)
        assert server.object("pods", "b", "batch") is None
        assert one.counts["evicted"] == 2

    play(server, test)


@pytest.mark.parametrize(
    ("options", "asked", "result"),
    [
        ({"place": "kube-system"}, {"place": "kube-system"}, "refused"),
        ({"place": "ours"}, {"place": "ours"}, "refused"),
        ({"on": "node-b"}, {}, "refused"),
        ({"annotations": {MIRROR: "x"}}, {}, "refused"),
        ({}, {"uid": "another"}, "gone"),
        ({}, {"uid": ""}, "refused"),
        ({}, {"name": "nobody"}, "gone"),
    ],
)
def test_what_is_not_to_be_evicted_stays(
    server: ApiServer, options: dict[str, Any], asked: dict[str, str], result: str
) -> None:
    uid = pod(server, "a", **options)

    async def test(client: KubeClient) -> None:
        one = evictor(client, FakeClock(), never=("ours",))
        for _ in range(2):
            await one.serve(asks(**({"name": "a", "uid": uid} | asked)))
        assert one.counts[result] == 1  # type: ignore[index]
        assert sum(one.counts.values()) == 1
        assert server.object("pods", "a", options.get("place", "batch")) is not None

    play(server, test)


def test_a_budget_s_no_is_a_no_and_asked_again_later(server: ApiServer) -> None:
    uid = pod(server, "a")

    async def test(client: KubeClient) -> None:
        clock = FakeClock()
        one = evictor(client, clock)
        server.fail(Fault("status", 429, "TooManyRequests", retry_after=60, verbs=frozenset({"create"}), times=1))  # fmt: skip  # noqa: E501
        await one.serve(asks("a", uid))
        assert one.counts["budget"] == 1
        clock.advance(59.0)
        await one.serve(asks("a", uid))
        assert server.object("pods", "a", "batch") is not None
        clock.advance(10.0)
        await one.serve(asks("a", uid))
        assert server.object("pods", "a", "batch") is None

    play(server, test)


def test_a_dry_run_evicts_nothing_and_a_standby_neither(server: ApiServer) -> None:
    uid = pod(server, "a")
    said: list[str] = []

    async def test(client: KubeClient) -> None:
        one = evictor(client, FakeClock(), dry_run=True, show=said.append)
        for _ in range(2):
            await one.serve(asks("a", uid))
        assert said == [f"dry run: evict pods/batch/a uid {uid}: cpu"]
        await evictor(client, FakeClock(), leads=False).serve(asks("a", uid))
        assert server.object("pods", "a", "batch") is not None

    play(server, test)


@pytest.mark.parametrize("enabled", [True, False])
def test_agents_requests_are_served_only_if_that_is_wanted(
    server: ApiServer, enabled: bool
) -> None:
    from exporter.labeller.config import EvictConfig

    put(server, "node-a")
    uid = pod(server, "a")

    async def test(it: Replica) -> None:
        it.told.evictions = asks("a", uid)
        await it.turn(node_a=1.0)
        assert (server.object("pods", "a", "batch") is None) is enabled

    central(server, test, evictions=EvictConfig(enabled=enabled, cooldown=Duration("1s")))


@pytest.mark.parametrize("found", [{}, {"metadata": None, "spec": 1}, {"metadata": [], "spec": []}])
def test_what_is_no_pod_is_not_evicted(found: dict[str, Any]) -> None:
    class Api:
        async def get(self, *_: object) -> dict[str, Any]:
            return found

    async def test() -> None:
        api: Any = Api()
        one = evictor(api, FakeClock())
        await one.serve(asks("p", "u"))
        assert one.counts["gone"] == 1

    asyncio.run(test())


def test_annotations_that_are_no_map_make_no_static_pod() -> None:
    class Api:
        async def get(self, *_: object) -> dict[str, Any]:
            return {"metadata": {"uid": "u", "annotations": 7}, "spec": {"nodeName": "node-a"}}

    async def test() -> None:
        api: Any = Api()
        one = evictor(api, FakeClock(), dry_run=True)
        await one.serve(asks("p", "u"))
        assert one.counts["dry_run"] == 1

    asyncio.run(test())
