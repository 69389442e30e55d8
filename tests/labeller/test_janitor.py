"""Marks that agents left behind go; those of agents that live, and of anybody else, stay."""

from exporter.kube.api import NODES
from exporter.kube.client import KubeClient
from exporter.labeller.janitor import AGENT
from exporter.pressure.marks import HEARTBEAT_STALE_SECONDS, Marks, wanted
from exporter.pressure.plan import plan
from exporter.pressure.standing import look
from exporter.pressure.writer import Writer
from tests.cluster.apiserver import ApiServer
from tests.labeller.playing import CPU, Replica, central, marks, of, put

MARKS = Marks(taint=True)
BEAT = "kernmesh.io/pressure-heartbeat"


async def agent_marks(it: Replica, name: str, heartbeat: str) -> None:
    api = it.central._api
    assert isinstance(api, KubeClient)
    want = wanted({"cpu": "pressed"}, MARKS, heartbeat=heartbeat)
    standing = look(await api.get(NODES, name), AGENT, MARKS)
    writer = Writer(api, it.clock, AGENT, it.pause)
    assert (await writer.write(lambda: plan(standing, want, MARKS, 0.0))).result == "written"
    known = it.central.keeper.known
    await it.heard(lambda: name in known and known[name].beat == heartbeat)


def test_marks_go_whose_heartbeat_nobody_renews(server: ApiServer) -> None:
    put(server, "node-a", "node-b")

    async def test(it: Replica) -> None:
        await it.turn(0.0)
        await agent_marks(it, "node-a", "1")
        await agent_marks(it, "node-b", "1")
        sweep, known = it.central.janitor.sweep, it.central.keeper.known
        await sweep(known)
        it.clock.advance(HEARTBEAT_STALE_SECONDS)
        await agent_marks(it, "node-b", "2")
        await sweep(known)
        assert [bool(marks(server, f"node-{c}")) for c in "ab"] == [True, True]
        it.clock.advance(1.0)
        await sweep(known)
        assert [bool(marks(server, f"node-{c}")) for c in "ab"] == [False, True]
        found = of(server)
        assert BEAT not in found["metadata"].get("annotations", {})
        keys = [each["key"] for each in found["spec"].get("taints", [])]
        assert "kernmesh.io/pressure" not in keys
        assert it.central.janitor.swept == 1

    central(server, test, taint=True)


def test_a_heartbeat_that_somebody_wrote_by_hand_is_nobody_s_to_sweep(server: ApiServer) -> None:
    put(server, "node-a", labels={CPU: "true"}, annotations={BEAT: "1"})

    async def test(it: Replica) -> None:
        await it.turn(0.0)
        for _ in range(2):
            await it.central.janitor.sweep(it.central.keeper.known)
            it.clock.advance(HEARTBEAT_STALE_SECONDS + 1)
        assert marks(server) == {CPU: "true"}
        assert it.central.janitor.swept == 0

    central(server, test)


def test_a_node_with_an_agent_s_label_is_not_the_labeller_s_to_change(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(it: Replica) -> None:
        await it.turn(0.0)
        await agent_marks(it, "node-a", "1")
        await it.turn(node_a=20.0)
        assert marks(server) == {CPU: "true"}
        await it.turn(node_a=90.0)
        assert any("kernmesh-agent's and left alone" in each for each in it.central.problems())

    central(server, test)
