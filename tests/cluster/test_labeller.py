"""Central labelling, its lease and its janitor, on whichever cluster the fixture gives."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.config import GoDuration
from exporter.kube.api import ENDPOINT_SLICES, LEASES, NODES, PODS, Object
from exporter.kube.client import KubeClient
from exporter.labeller.agent_source import Place, Request
from exporter.labeller.config import Agents
from exporter.labeller.crane_notes import Bound
from exporter.labeller.evictor import Evictor
from exporter.labeller.settings import CranePlan
from exporter.pressure.annotations import Hot
from exporter.pressure.crane import Crane
from exporter.pressure.marks import HEARTBEAT_STALE_SECONDS
from exporter.testing import FakeClock
from tests.cluster.conftest import Cluster
from tests.cluster.test_scenarios import (
    BUDGET,
    BUDGETED,
    BUDGETS,
    PLACE,
    PREFIX,
    node,
    nodes,
    play,
    pod,
)
from tests.labeller.playing import CPU, LEASE, Replica
from tests.labeller.test_janitor import agent_marks

A, B = PREFIX + "a", PREFIX + "b"


@asynccontextmanager
async def replica(client: KubeClient, identity: str = "", **options: Any) -> AsyncIterator[Replica]:
    found = Replica(client, FakeClock(), identity, **options)
    try:
        yield found
    finally:
        found.watching.cancel()


async def turn(it: Replica, **values: float) -> None:
    """By the last letter of a node's name."""
    await it.turn(2.0, **{PREFIX + letter: value for letter, value in values.items()})


async def get(client: KubeClient, name: str = A) -> Object:
    return await client.get(NODES, name)


async def marks(client: KubeClient, name: str = A) -> Mapping[str, str]:
    labels = (await get(client, name))["metadata"].get("labels", {})
    return {key: value for key, value in labels.items() if key in (CPU, "status")}


def test_marks_follow_levels_and_the_next_labeller_takes_them_over(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "a", "b"):
            async with replica(client, taint=True) as it:
                await turn(it, a=20, b=20)
                assert it.central.writer.counts["written"] == 0
                await turn(it, a=90, b=20)
                assert await marks(client) == {CPU: "true"}
                keys = [each["key"] for each in (await get(client))["spec"]["taints"]]
                assert "kernmesh.io/pressure" in keys
            async with replica(client, taint=True) as it:
                await turn(it, b=20)  # of a nothing is known
                assert await marks(client) == {CPU: "true"}
                await turn(it, a=20, b=20)
                assert await marks(client) == {}
                assert it.central.writer.counts["written"] == 1
                found = await get(client)
                keys = [each["key"] for each in found["spec"].get("taints", [])]
                assert "kernmesh.io/pressure" not in keys
                rows = found["status"]["conditions"]
                assert [each["status"] for each in rows] == ["False"]

    play(cluster, test)


def test_a_foreign_label_and_the_control_plane_are_left_alone(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        role = {"node-role.kubernetes.io/control-plane": ""}
        await client.create(NODES, node("a", labels={CPU: "mine"}), manager="them")
        await client.create(NODES, node("b", labels=role), manager="them")
        async with replica(client, condition=False) as it:
            await turn(it, a=90, b=90)
            await turn(it, a=20, b=20)
            assert await marks(client) == {CPU: "mine"}
            assert await marks(client, B) == {}
            assert it.central.writer.counts["written"] == 0

    play(cluster, test)


def test_two_labellers_write_once_and_a_stolen_lease_stops_the_next_write(
    cluster: Cluster,
) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "a", "b"), replica(client, "a") as a, replica(client, "b") as b:
            for _ in range(2):
                await turn(a, a=90)
                await turn(b, a=90)
            counts = [each.central.writer.counts["written"] for each in (a, b)]
            assert counts == [1, 0]
            thief = {"spec": {"holderIdentity": "thief"}}
            await client.patch(LEASES, LEASE, thief, namespace=PLACE)
            a.told.values = {B: 90.0}
            await a.central.round()
            assert (await a.central.keeper.bring(B)).result == "unchanged"
            assert await marks(client, B) == {}
            for _ in range(9):  # the thief does not renew it
                await turn(b, b=90)
            assert b.central.leads
            assert await marks(client, B) == {CPU: "true"}
            await b.central.lease.release()  # type: ignore[union-attr]
            a.clock.advance(10.0)
            await a.heard(lambda: CPU in a.central.keeper.known[B].standing.labels)
            await turn(a, b=20)
            assert a.central.leads
            assert await marks(client, B) == {}
            spec = (await client.get(LEASES, LEASE, PLACE))["spec"]
            assert spec["leaseTransitions"] >= 2

    play(cluster, test)


def test_a_node_exchanged_unseen_is_neither_marked_nor_made(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "a"), replica(client) as it:
            await turn(it, a=20)
            it.watching.cancel()
            await client.delete(NODES, A)
            await client.create(NODES, node("a"), manager="maker")
            it.told.values = {A: 90.0}
            await it.central.round()
            assert (await it.central.keeper.bring(A)).result == "conflict"
            assert await marks(client) == {}
            await client.delete(NODES, A)
            assert (await it.central.keeper.bring(A)).result in ("conflict", "gone")
            names = [each["metadata"]["name"] for each in (await client.list_page(NODES)).items]
            assert A not in names

    play(cluster, test)


def test_the_janitor_takes_away_what_a_dead_agent_left(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "a"), replica(client, taint=True) as it:
            await turn(it)
            await agent_marks(it, A, "1")
            assert await marks(client) == {CPU: "true"}
            await it.central.janitor.sweep(it.central.keeper.known)
            it.clock.advance(HEARTBEAT_STALE_SECONDS + 1)
            await it.central.janitor.sweep(it.central.keeper.known)
            assert await marks(client) == {}
            taints = (await get(client))["spec"].get("taints", [])
            assert "kernmesh.io/pressure" not in [each["key"] for each in taints]

    play(cluster, test)


@pytest.mark.parametrize("same", [True, False])
def test_a_pod_is_evicted_by_its_uid(cluster: Cluster, same: bool) -> None:
    async def test(client: KubeClient) -> None:
        async def ours() -> bool:
            return True

        name = PREFIX + "pod"
        made = await client.create(PODS, pod("pod", on=A), namespace=PLACE, manager="maker")
        uid = made["metadata"]["uid"] if same else "another"
        one = Evictor(client, FakeClock(), ours)
        await one.serve({A: [Request(PLACE, name, uid, 0)]})
        assert one.counts["evicted" if same else "gone"] == 1
        there = [each["metadata"]["name"] for each in (await client.list_page(PODS)).items]
        assert (name in there) is not same

    play(cluster, test)


def test_a_node_of_thousands_of_labels_is_a_node(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        labels = {f"example.org/label-{i}": "x" * 10 for i in range(5000)}
        await client.create(NODES, node("a", labels=labels), manager="maker")
        async with replica(client) as it:
            await turn(it, a=90)
            assert await marks(client) == {CPU: "true"}
            await turn(it, a=20)
            assert await marks(client) == {}
            assert labels.items() <= (await get(client))["metadata"]["labels"].items()

    play(cluster, test)


def agents_slice(name: str, address: str, *on: str) -> Object:
    """v1 names the node, v1beta1 of 1.20 keeps its topology alone (docs/reference/using-api/
    deprecation-guide: EndpointSlice)."""
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": PREFIX + name, "labels": {"kubernetes.io/service-name": "agents"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 9435, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [f"{address}{index}"],
                "nodeName": PREFIX + each,
                "topology": {"kubernetes.io/hostname": PREFIX + each},
            }
            for index, each in enumerate(on)
        ],
    }


def test_agents_are_found_by_the_endpointslices_of_their_service(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "a", "b", "c"):
            first = agents_slice("first", "10.0.0.1", "a", "gone")
            first["metadata"]["namespace"] = PLACE
            made = await client.create(ENDPOINT_SLICES, first, namespace=PLACE)
            other = agents_slice("other", "10.9.9.9", "c")
            other["metadata"]["labels"] = {"kubernetes.io/service-name": "others"}
            await client.create(ENDPOINT_SLICES, other, namespace=PLACE)
            async with replica(client, agents=Agents(service=f"{PLACE}/agents")) as it:
                await turn(it)
                assert it.told.places == {A: Place("10.0.0.10", 9435)}
                second = agents_slice("second", "10.0.0.2", "b")
                await client.create(ENDPOINT_SLICES, second, namespace=PLACE)
                slices = it.central.informers[1].known
                await it.heard(lambda: len(slices) == 2)
                await turn(it)
                assert set(it.told.places) == {A, B}
                moved = {**made, "endpoints": agents_slice("", "10.0.0.3", "a")["endpoints"]}
                name = PREFIX + "first"
                at = Place("10.0.0.30", 9435)
                await client.update(ENDPOINT_SLICES, name, moved, namespace=PLACE)
                await it.heard(lambda: {A: at} in slices.values())
                await client.delete(ENDPOINT_SLICES, PREFIX + "second", PLACE)
                await it.heard(lambda: len(slices) == 1)
                await turn(it)
                assert it.told.places == {A: at}

    play(cluster, test)


def test_crane_s_annotations_and_how_hot_a_node_is_follow_rounds_and_pods(
    cluster: Cluster,
) -> None:
    async def bind(client: KubeClient, name: str, at: str) -> None:
        await client.create(PODS, pod(name, on=A), namespace=PLACE)
        row = {"type": "PodScheduled", "status": "True", "lastTransitionTime": at}
        status = {"status": {"conditions": [row]}}
        await client.patch(PODS, PREFIX + name, status, namespace=PLACE, subresource="status")

    async def annotations(it: Replica, client: KubeClient) -> Mapping[str, str]:
        it.told.statistics = {A: {"cpu_usage_avg_5m": 6.8}}
        await turn(it, a=20)
        await it.central.crane_written()
        found: Mapping[str, str] = (await get(client))["metadata"].get("annotations", {})
        return found

    async def test(client: KubeClient) -> None:
        hot = (Hot(GoDuration("5m"), 1),)
        plan = CranePlan(Crane({"cpu_usage_avg_5m": 180.0}, ZoneInfo("Asia/Shanghai")), hot)
        async with nodes(client, "a"), replica(client, crane=plan) as it:
            # FakeClock's wall is 2023-11-14T22:13:20Z.
            await bind(client, "new", "2023-11-14T22:12:20Z")
            await bind(client, "old", "2023-11-14T21:12:20Z")
            pods = it.central.informers[1].known

            def on_it() -> int:
                return sum(isinstance(each, Bound) and each.node == A for each in pods.values())

            await it.heard(lambda: on_it() == 2)
            found = await annotations(it, client)
            # In crane's zone, at the time of the write, which follows the round.
            assert found["cpu_usage_avg_5m"].startswith("0.06800,2023-11-15T06:13:2")
            assert found["node_hot_value"].startswith("1,2023-11-15T06:13:2")
            await bind(client, "newer", "2023-11-14T22:13:20Z")
            await it.heard(lambda: on_it() == 3)
            it.clock.advance(180.0)
            found = await annotations(it, client)
            assert found["node_hot_value"].startswith("2,2023-11-15T06:16:2")
            assert it.central.crane_writer.counts["written"] == 2
            assert await marks(client) == {}

    play(cluster, test)


def test_a_disruption_budget_s_no_holds_until_it_allows(cluster: Cluster) -> None:
    async def ours() -> bool:
        return True

    async def test(client: KubeClient) -> None:
        async with nodes(client, "a"):
            await client.create(BUDGETS, BUDGET, namespace=PLACE)
            body = pod("pod", on=A, labels=BUDGETED)
            name, made = PREFIX + "pod", await client.create(PODS, body, namespace=PLACE)
            running = {"status": {"phase": "Running"}}
            await client.patch(PODS, name, running, namespace=PLACE, subresource="status")
            clock = FakeClock()
            one = Evictor(client, clock, ours)
            asked = {A: [Request(PLACE, name, made["metadata"]["uid"], 0)]}
            for _ in range(3):  # at once it is not asked again
                await one.serve(asked)
            assert one.counts["budget"] == 1
            assert (await client.get(PODS, name, PLACE))["metadata"]["uid"] == asked[A][0].uid
            clock.advance(3600.0)
            await one.serve(asked)
            assert one.counts["budget"] == 2
            await client.delete(BUDGETS, PREFIX + "budget", PLACE)
            clock.advance(3600.0)
            await one.serve(asked)
            assert one.counts["evicted"] == 1
            there = [each["metadata"]["name"] for each in (await client.list_page(PODS)).items]
            assert name not in there

    play(cluster, test)
