"""Central labelling on a test API server: what comes of rounds, and what of accidents."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from exporter.config import Duration, HttpUrl
from exporter.config.agent import Keys
from exporter.kube.api import NODES
from exporter.kube.client import KubeClient
from exporter.labeller.config import Bands, Begin, PromRules
from exporter.labeller.page import nodes_json
from exporter.labeller.prom_source import PromSource
from exporter.testing import FakeClock
from tests.cluster.apiserver import ApiServer
from tests.cluster.faults import Fault
from tests.kube.asking import play
from tests.labeller.answering import answering, as_json
from tests.labeller.playing import CPU, LEASE, Replica, central, marks, of, put, writes

LEGACY = {"keys": Keys(legacy_status=True)}


def conditions(server: ApiServer, name: str = "node-a") -> list[str]:
    rows = of(server, name).get("status", {}).get("conditions", [])
    return [each["status"] for each in rows if each["type"] == "KernmeshPressure"]


def test_a_node_is_marked_while_it_is_pressed_and_calm_ones_cost_no_write(
    server: ApiServer,
) -> None:
    put(server, "node-a", "node-b")

    async def test(it: Replica) -> None:
        await it.turn(node_a=20.0, node_b=20.0)
        assert writes(server) == []
        await it.turn(node_a=90.0, node_b=20.0)
        assert marks(server) == {CPU: "true", "status": "presure"}
        assert conditions(server) == ["True"]
        assert it.central.pressed() == ["node-a"]
        await it.turn(node_a=90.0, node_b=20.0)
        assert len(writes(server)) == 1
        await it.turn(node_a=20.0, node_b=20.0)
        assert marks(server) == {}
        assert conditions(server) == ["False"]
        assert conditions(server, "node-b") == []
        assert writes(server) == [200, 200]
        assert it.central.pressed() == []

    central(server, test, **LEGACY)


def test_nodes_are_said_as_dynamicscheduler_says_them() -> None:
    said = b'{"type":"Label type=presure Nodes","num":1,"node_names":["node-a"]}'
    assert nodes_json(["node-a"]) == said
    assert nodes_json([]) == b'{"type":"Label type=presure Nodes","num":0,"node_names":[]}'


@pytest.mark.parametrize("values", [{}, {"node_a": None}])
def test_without_data_a_mark_holds_and_then_expires_to_unknown(
    server: ApiServer, values: dict[str, Any]
) -> None:
    put(server, "node-a")

    async def test(it: Replica) -> None:
        await it.turn(node_a=90.0)
        for _ in range(5):
            await it.turn(100.0, **values)
            assert marks(server) == {CPU: "true"}
        await it.turn(100.0, **values)
        await it.turn(100.0, **values)
        assert marks(server) == {}
        assert conditions(server) == ["Unknown"]
        await it.turn(node_a=20.0)
        assert conditions(server) == ["False"]

    central(server, test)


def test_what_is_calm_does_not_wait_for_what_is_unknown(server: ApiServer) -> None:
    put(server, "node-a", "node-b")

    async def test(it: Replica) -> None:
        await it.turn(node_a=90.0, node_b=20.0)  # and of memory nothing
        assert marks(server) == {CPU: "true"}
        await it.turn(node_a=20.0, node_b=20.0)
        assert marks(server) == {}
        assert conditions(server) == ["Unknown"]
        assert len(writes(server)) == 2

    central(server, test, levels=Bands(schedule=False))


def test_a_threshold_that_is_spoilt_holds_its_label_until_it_expires(
    server: ApiServer, tmp_path: Path
) -> None:
    put(server, "node-a")
    rules, one = tmp_path / "rule.yaml", "kernmesh.io/pressure-one"
    text = "Rulename: {one: {Promsql: x, Threshold: 70}, two: {Promsql: y, Threshold: 95}}"
    rules.write_text(text)
    row = {"metric": {"instance": "node-a"}, "value": [1.0, "90"]}
    answer = as_json({"data": {"resultType": "vector", "result": [row]}})

    async def test(client: KubeClient) -> None:
        async with answering(lambda at, path: answer) as port:
            url = HttpUrl(f"http://127.0.0.1:{port}")
            config = PromRules(url, str(rules))
            it = Replica(client, FakeClock(), prom=PromSource(config), prometheus=config)
            await it.turn(node_a=20.0)
            assert marks(server) == {one: "true"}
            rules.write_text(text.replace("70", "many"))
            await it.turn(500.0, node_a=20.0)
            assert any("Rulename.one.Threshold" in each for each in it.central.problems())
            await it.turn(200.0, node_a=20.0)
            assert marks(server) == {one: "true"}
            await it.turn(node_a=20.0)
            assert marks(server) == {}
            assert conditions(server) == ["Unknown"]
            it.watching.cancel()
            assert it.central.prom is not None
            await it.central.prom.close()

    play(server, test)


def test_control_plane_nodes_are_never_marked(server: ApiServer) -> None:
    for name, role in (("node-a", "control-plane"), ("node-b", "master")):
        put(server, name, labels={f"node-role.kubernetes.io/{role}": ""})

    async def test(it: Replica) -> None:
        await it.turn(node_a=99.0, node_b=99.0)
        assert writes(server) == []

    central(server, test)


def test_a_label_of_somebody_else_is_left_alone_and_said(server: ApiServer) -> None:
    put(server, "node-a", labels={"status": "mine"})

    async def test(it: Replica) -> None:
        await it.turn(node_a=90.0)
        await it.turn(node_a=20.0)
        assert marks(server) == {"status": "mine"}
        await it.turn(node_a=90.0)
        assert marks(server) == {"status": "mine", CPU: "true"}
        assert any("label status is kubectl-test's" in each for each in it.central.problems())

    central(server, test, **LEGACY)


def test_who_follows_takes_over_what_stands_and_loses_no_label(server: ApiServer) -> None:
    put(server, "node-a", "node-b")

    async def test(client: KubeClient) -> None:
        first = Replica(client, FakeClock())
        await first.turn(node_a=90.0, node_b=90.0)
        first.watching.cancel()
        second = Replica(client, FakeClock(), enter=Begin(of=3, at_least=3))
        await second.turn(node_a=90.0)  # of node-b nothing is known
        assert [marks(server, name) for name in ("node-a", "node-b")] == [{CPU: "true"}] * 2
        assert len(writes(server)) == 2
        await second.turn(node_a=20.0)
        assert [marks(server, name) for name in ("node-a", "node-b")] == [{}, {CPU: "true"}]
        second.watching.cancel()

    play(server, test)


def test_two_replicas_write_once_and_a_stolen_lease_stops_the_next_write(
    server: ApiServer,
) -> None:
    put(server, "node-a", "node-b")

    async def test(client: KubeClient) -> None:
        a, b = (Replica(client, FakeClock(), name) for name in "ab")
        for _ in range(2):
            await a.turn(2.0, node_a=90.0)
            await b.turn(2.0, node_a=90.0)
        applied = [path for method, path, _ in server.requests if "nodes/" in path]
        assert len(applied) == 1
        assert (a.central.decides, b.central.decides) == (True, False)
        thief = {"spec": {"holderIdentity": "thief"}}
        lease = f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{LEASE}"
        assert any(path == lease for _, path, _ in server.requests)
        from exporter.kube.api import LEASES

        await client.patch(LEASES, LEASE, thief, namespace="default")
        assert a.central.leads
        a.told.values = {"node-b": 90.0}
        await a.central.round()
        name = a.central.keeper.next()
        assert name == "node-b"
        assert (await a.central.keeper.bring(name)).result == "unchanged"
        assert marks(server, "node-b") == {}
        assert not a.central.decides
        await a.turn(node_b=90.0)
        assert not a.central.keeper.begun
        for each in (a, b):
            each.watching.cancel()

    play(server, test)


def test_an_outage_of_the_api_loses_no_label_and_is_made_up_for(server: ApiServer) -> None:
    put(server, "node-a", "node-b", "node-c")

    async def test(client: KubeClient) -> None:
        it = Replica(client, FakeClock(), "a")
        await it.turn(node_a=90.0, node_b=90.0)
        fault = server.fail(Fault("cut", verbs=frozenset({"apply", "get", "update"})))
        for _ in range(30):
            it.told.values = {"node-a": 20.0, "node-b": 90.0, "node-c": 90.0}
            assert it.central.lease is not None
            await it.central.lease.look()
            await it.central.round()
            name = it.central.keeper.next()
            if name is not None:
                await it.central.keeper.bring(name)
            it.clock.advance(10.0)
        assert not it.central.leads
        assert it.central.decides
        assert it.central.keeper.pending == 2
        assert [marks(server, f"node-{c}") for c in "abc"] == [{CPU: "true"}, {CPU: "true"}, {}]
        assert fault.met > 0
        server.well()
        for _ in range(3):
            await it.turn(2.0, node_a=20.0, node_b=90.0, node_c=90.0)
        assert [marks(server, f"node-{c}") for c in "abc"] == [{}, {CPU: "true"}, {CPU: "true"}]
        it.watching.cancel()

    play(server, test)


def test_a_429_is_waited_for_as_long_as_it_says(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(it: Replica) -> None:
        server.fail(Fault("status", 429, retry_after=30, verbs=frozenset({"apply"}), times=1))
        began = it.clock.monotonic()
        await it.turn(0.0, node_a=90.0)
        assert it.clock.monotonic() - began >= 30
        assert writes(server) == [429, 200]
        assert marks(server) == {CPU: "true"}

    central(server, test)


def test_a_node_made_anew_is_not_marked_for_the_one_before(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(it: Replica) -> None:
        await it.turn(node_a=90.0)
        uid = of(server)["metadata"]["uid"]
        server.delete("nodes", "node-a")
        put(server, "node-a")
        known = it.central.keeper.known
        await it.heard(lambda: "node-a" in known and known["node-a"].standing.uid != uid)
        await it.turn(20.0)
        assert marks(server) == {}
        await it.turn(node_a=90.0)
        assert marks(server) == {CPU: "true"}

    central(server, test)


def test_a_write_for_a_node_that_was_exchanged_unseen_changes_nothing(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(it: Replica) -> None:
        await it.turn(node_a=20.0)
        it.watching.cancel()
        server.delete("nodes", "node-a")
        put(server, "node-a")
        it.told.values = {"node-a": 90.0}
        await it.central.round()
        assert (await it.central.keeper.bring("node-a")).result == "conflict"
        assert marks(server) == {}
        server.delete("nodes", "node-a")
        it.clock.advance(10)
        assert (await it.central.keeper.bring("node-a")).result == "gone"
        assert server.object("nodes", "node-a") is None

    central(server, test)


def test_a_mark_that_somebody_took_away_comes_back(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(it: Replica) -> None:
        await it.turn(node_a=90.0)
        body = {"metadata": {"labels": {CPU: None}}}
        version = of(server)["metadata"]["resourceVersion"]
        await it.central._api.patch(NODES, "node-a", body, manager="kubectl-label")
        keeper = it.central.keeper
        await it.heard(lambda: keeper.known["node-a"].standing.version > version)
        await it.turn(node_a=90.0)
        assert marks(server) == {CPU: "true"}

    central(server, test)


def test_a_watch_that_is_cut_goes_on_where_it_was(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(it: Replica) -> None:
        await it.turn(node_a=20.0)
        server.cut_watches()
        put(server, "node-b")
        await it.heard(lambda: "node-b" in it.central.keeper.known)
        server.compact()
        server.cut_watches()
        put(server, "node-c")
        await it.heard(lambda: "node-c" in it.central.keeper.known)
        await it.turn(node_c=90.0)
        assert marks(server, "node-c") == {CPU: "true"}

    central(server, test)


def test_a_node_of_ten_thousand_labels_is_a_node(server: ApiServer) -> None:
    put(server, "node-a", labels={f"example.org/label-{i}": "x" * 20 for i in range(10_000)})

    async def test(it: Replica) -> None:
        await it.turn(node_a=90.0)
        assert marks(server) == {CPU: "true"}
        assert len(of(server)["metadata"]["labels"]) == 10_001
        await it.turn(node_a=20.0)
        assert len(of(server)["metadata"]["labels"]) == 10_000

    central(server, test)


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(it: Replica) -> None:
        for _ in range(3):
            await it.turn(node_a=90.0)
        assert writes(server) == []
        assert [line.split(" ")[:4] for line in it.said] == [
            ["dry", "run:", "apply", "nodes/node-a/status"]
        ]

    central(server, test, dry_run=True)


@pytest.mark.parametrize("clear", [True, False])
def test_at_the_end_our_marks_go_if_that_is_wanted_and_the_lease_is_given_back(
    server: ApiServer, clear: bool
) -> None:
    put(server, "node-a")

    async def test(client: KubeClient) -> None:
        it = Replica(client, FakeClock(), "a", clear_on_stop=clear)
        await it.turn(0.0, node_a=90.0)
        await it.central._end(asyncio.create_task(asyncio.sleep(60)))
        assert marks(server) == ({} if clear else {CPU: "true"})
        lease = server.object("leases", LEASE, "default")
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == ""
        it.watching.cancel()

    play(server, test)


def test_who_writes_a_node_at_the_same_time_keeps_no_mark_on_it_at_the_end(
    server: ApiServer,
) -> None:
    put(server, "node-a")

    async def test(client: KubeClient) -> None:
        it = Replica(client, FakeClock(), "a", clear_on_stop=True)
        await it.turn(0.0, node_a=90.0)
        assert marks(server) == {CPU: "true"}
        met = server.fail(Fault("status", 409, verbs=frozenset({"apply"}), times=1))
        await it.central._end(asyncio.create_task(asyncio.sleep(60)))
        assert met.met == 1
        assert marks(server) == {}
        it.watching.cancel()

    play(server, test)


def test_levels_begin_and_end_by_n_of_m_and_the_hold(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(it: Replica) -> None:
        stood = []
        for value in (90, 20, 90, 90, 90, 20, 20, 90, 20, 20, 20, 20, 20):
            await it.turn(node_a=float(value))
            stood.append(bool(marks(server)))
        assert stood == [*[False] * 3, *[True] * 8, False, False]
        assert len(writes(server)) == 2

    central(server, test, enter=Begin(of=4, at_least=3), hold=Duration("25s"))
