"""Members of a cluster through the real client, over HTTP: nodes and pods that come and go, an API
that goes away, a start without it."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from exporter.clock import SystemClock
from exporter.kube.access import Access
from exporter.kube.api import Object
from pingmesh import controller_config
from pingmesh.controller_config import ControllerConfig
from pingmesh.inventory import Network, Roll
from pingmesh.kubernetes import PACE_SECONDS, Kubernetes
from pingmesh.networks import Networks, make_networks
from pingmesh.pinglist import Pinglist
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.faults import Fault
from tests.web.serving import until

WATCHDOG_SECONDS = 60.0
NODES: Network = "nodes"
PODS: Network = "pods"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running


def put_node(server: ApiServer, name: str, *addresses: str, **labels: str) -> None:
    body: Object = {
        "metadata": {
            "name": name,
            "labels": {key.replace("__", "/").replace("_", "."): v for key, v in labels.items()},
        }
    }
    server.put("nodes", body)
    rows = [{"type": "InternalIP", "address": each} for each in addresses]
    server.put_status("nodes", body | {"status": {"addresses": rows}})


def put_pod(
    server: ApiServer, name: str, on: str, address: str = "", label: str = "prober", **status: Any
) -> None:
    body: Object = {
        "metadata": {"name": name, "labels": {f"kernmesh.io/{label}": "true"}},
        "spec": {"nodeName": on, "containers": [{"name": "a", "image": "a"}]},
    }
    server.put("pods", body, "default")
    server.put_status("pods", body | {"status": status | {"podIP": address}}, "default")


def zoned(server: ApiServer, name: str, *addresses: str, zone: str, rack: str) -> None:
    put_node(server, name, *addresses, topology_kubernetes_io__zone=zone, kernmesh_io__rack=rack)


class Following:
    """A running one with the roll that reads it. Pauses last until `go` is called: `pauses` are
    those that were begun."""

    def __init__(self, server: ApiServer, paced: bool, **keys: Any) -> None:
        config = controller_config.Kubernetes(**keys)
        self.config = ControllerConfig(source=controller_config.Sources(config))
        self.clock = SystemClock()
        self.pauses: list[float] = []
        self.told = 0
        self._gate = asyncio.Event()
        self._paced = paced
        access = Access("test", server.url, namespace="default")
        self.kubernetes = Kubernetes(config, access, self.clock, pause=self._pause)
        self.roll = Roll(self.kubernetes.sources, self.clock)
        self.roll.look()

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self._paced:
            await self._gate.wait()
            self._gate.clear()

    def tell(self) -> None:
        self.told += 1

    def go(self) -> None:
        self._gate.set()

    def names(self, network: Network) -> list[str] | None:
        self.roll.look()
        if self.roll.waiting(network):
            return None
        return sorted(each.name for each in self.roll.members(network))

    async def until_names(self, network: Network, names: Sequence[str]) -> None:
        await until(lambda: self.names(network) == list(names))

    def lists(self) -> Networks:
        found = {network: self.roll.members(network) for network in (NODES, PODS)}
        return make_networks(self.config, Pinglist(), found, Networks())


Test = Callable[[Following], Awaitable[None]]


def play(server: ApiServer, test: Test, paced: bool = False, **keys: Any) -> None:
    async def watched() -> None:
        following = Following(server, paced, **keys)
        task = asyncio.create_task(following.kubernetes.run(following.tell))
        try:
            async with asyncio.timeout(WATCHDOG_SECONDS):
                await test(following)
        finally:
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(watched())


def test_nodes_and_pods_come_change_and_go(server: ApiServer) -> None:
    put_node(server, "a", "10.0.0.1", "fd00::1")

    async def test(one: Following) -> None:
        await one.until_names(NODES, ["a"])
        await one.until_names(PODS, [])
        zoned(server, "b", "10.0.0.2", zone="east", rack="r1")
        await one.until_names(NODES, ["a", "b"])
        [_, b] = sorted(one.roll.members(NODES))
        assert (b.zone, b.rack, b.addresses) == ("east", "r1", ("10.0.0.2",))
        put_pod(server, "p", "b", "10.1.0.2")
        put_pod(server, "web", "a", "10.1.0.1", "probe")
        await one.until_names(PODS, ["default/web", "p"])
        zoned(server, "b", "10.0.0.2", zone="west", rack="r1")
        await until(lambda: {each.zone for each in _read(one, PODS)} == {"west", ""})
        server.delete("pods", "web", "default")
        await one.until_names(PODS, ["p"])
        server.delete("nodes", "b")
        await one.until_names(NODES, ["a"])
        await one.until_names(PODS, [])
        assert one.roll.left_out() == {("kubernetes pods", "on no known node"): 1}

    play(server, test)


def _read(one: Following, network: Network) -> Sequence[Any]:
    one.roll.look()
    return one.roll.members(network)


def test_a_node_made_anew_by_its_name_is_the_same_member(server: ApiServer) -> None:
    put_node(server, "a", "10.0.0.1")
    put_node(server, "b", "10.0.0.2")

    async def test(one: Following) -> None:
        await one.until_names(NODES, ["a", "b"])
        before = one.lists()
        server.delete("nodes", "a")
        put_node(server, "a", "10.0.0.1")
        put_node(server, "c", "10.0.0.3")
        await one.until_names(NODES, ["a", "b", "c"])
        server.delete("nodes", "c")
        await one.until_names(NODES, ["a", "b"])
        after = one.lists()
        old, new = before.lists(NODES), after.lists(NODES)
        assert old is not None and new is not None
        assert {n: old.yaml(n) for n in "ab"} == {n: new.yaml(n) for n in "ab"}

    play(server, test)


def test_what_nobody_could_probe_is_left_out_and_counted(server: ApiServer) -> None:
    put_node(server, "a", "10.0.0.1")
    put_node(server, "mute")
    server.put("nodes", {"metadata": {"name": "odd", "labels": {"kernmesh.io/rack": "a b"}}})
    put_pod(server, "early", "a")
    put_pod(server, "late", "a", "10.1.0.9", phase="Succeeded")
    put_pod(server, "p", "a", "10.1.0.1")

    async def test(one: Following) -> None:
        await one.until_names(PODS, ["p"])
        assert one.names(NODES) == ["a"]
        assert one.roll.left_out() == {
            ("kubernetes nodes", "no address"): 1,
            ("kubernetes pods", "no address"): 1,
            ("kubernetes pods", "ended"): 1,
        }
        assert one.kubernetes.unreadable == 1

    play(server, test)


def test_selectors_say_which_nodes_and_pods_count(server: ApiServer) -> None:
    put_node(server, "a", "10.0.0.1", mesh="yes", rack="r9")
    put_node(server, "b", "10.0.0.2")
    put_pod(server, "p", "a", "10.1.0.1", "mine")
    put_pod(server, "not", "a", "10.1.0.2")

    async def test(one: Following) -> None:
        await one.until_names(PODS, ["p"])
        assert one.names(NODES) == ["a"]
        assert [each.rack for each in one.roll.members(NODES)] == ["r9"]

    play(
        server,
        test,
        nodes="mesh=yes",
        rack_label="rack",
        probers="kernmesh.io/mine=true",
        opt_in=None,
    )


def test_without_probers_no_pod_is_asked_for(server: ApiServer) -> None:
    put_node(server, "a", "10.0.0.1")

    async def test(one: Following) -> None:
        await one.until_names(NODES, ["a"])
        assert one.roll.names == ["kubernetes nodes"]

    play(server, test, probers=None)
    assert not any("/pods" in path for _, path, _ in server.requests)


@pytest.mark.parametrize("how", ["cut", "end", "gone"])
def test_a_watch_that_ends_in_any_way_is_gone_on_with(server: ApiServer, how: str) -> None:
    put_node(server, "a", "10.0.0.1")
    put_node(server, "b", "10.0.0.2")

    async def test(one: Following) -> None:
        await one.until_names(NODES, ["a", "b"])
        await until(lambda: server.open_watches == 3)
        held = server.fail(Fault("status", 503, verbs=frozenset({"watch", "list"})))
        server.cut_watches() if how == "cut" else server.end_watches()
        await until(lambda: held.met > 0)
        server.delete("nodes", "a")
        put_node(server, "c", "10.0.0.3")
        if how == "gone":
            server.compact()
        assert one.names(NODES) == ["a", "b"]
        server.well()
        await one.until_names(NODES, ["b", "c"])
        await until(lambda: not _problems(one))

    play(server, test)


def _problems(one: Following) -> dict[str, str]:
    one.roll.look()
    return one.roll.problems


def test_while_the_api_is_away_members_stay_and_are_said_to_be_stale(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    put_node(server, "a", "10.0.0.1")

    async def test(one: Following) -> None:
        await one.until_names(NODES, ["a"])
        await until(lambda: not _problems(one))
        server.fail(Fault("status", 500))
        server.cut_watches()
        await until(lambda: "HTTP 500" in _problems(one).get("kubernetes nodes", ""))
        assert one.names(NODES) == ["a"]
        server.well()
        await until(lambda: not _problems(one))

    with caplog.at_level(logging.INFO):
        play(server, test)
    assert "source kubernetes nodes is back" in caplog.text


def test_pods_that_may_not_be_read_do_not_hold_up_nodes(server: ApiServer) -> None:
    put_node(server, "a", "10.0.0.1")
    put_node(server, "b", "10.0.0.2")
    server.fail(Fault("status", 403, "Forbidden", resource="pods"))

    async def test(one: Following) -> None:
        await one.until_names(NODES, ["a", "b"])
        await until(lambda: "403" in _problems(one).get("kubernetes pods", ""))
        assert one.names(PODS) is None
        found = {NODES: one.roll.members(NODES), PODS: None}
        made = make_networks(one.config, Pinglist(), found, Networks())
        lists = made.lists(NODES)
        assert lists is not None and lists.yaml("a")
        # Who is not found may be a prober's pod.
        assert made.waiting

    play(server, test)


def test_a_storm_of_changes_is_told_once_a_pause(server: ApiServer) -> None:
    put_node(server, "a", "10.0.0.1")

    async def test(one: Following) -> None:
        await until(lambda: one.pauses == [PACE_SECONDS])  # nodes, or all, are told
        told = one.told
        for i in range(200):
            put_pod(server, f"p{i}", "a", f"10.1.0.{i}")
        known = one.kubernetes
        await until(lambda: len(known._informers["probers"].known) == 200)
        assert one.told == told
        one.go()
        await until(lambda: len(_read(one, PODS)) == 200)
        assert one.told == told + 1

    play(server, test, paced=True)


def test_two_controllers_give_the_same_bytes_whatever_they_have_lived_through(
    server: ApiServer,
) -> None:
    for i in range(12):
        zoned(server, f"n{i}", f"10.0.0.{i}", zone=f"z{i % 2}", rack=f"r{i % 4}")
        put_pod(server, f"p{i}", f"n{i}", f"10.1.0.{i}")
        put_pod(server, f"s{i}", f"n{i}", f"10.2.0.{i}", "probe")
    names = [f"{kind}{i}" for kind in "np" for i in range(1, 12)]

    async def test(one: Following) -> None:
        await until(lambda: len(_read(one, PODS)) == 24)
        server.delete("nodes", "n0")
        server.delete("pods", "p0", "default")
        server.delete("pods", "s0", "default")
        await until(lambda: len(_read(one, PODS)) == 22 and len(_read(one, NODES)) == 11)
        other = Following(server, False)
        task = asyncio.create_task(other.kubernetes.run(lambda: None))
        await until(lambda: len(_read(other, PODS)) == 22)
        a, b = one.lists(), other.lists()
        for name in names:
            mine, theirs = a.of(name), b.of(name)
            assert mine is not None and theirs is not None
            assert mine.yaml(name) == theirs.yaml(name)
        task.cancel()
        await asyncio.wait([task])

    play(server, test)


def test_a_start_without_the_api_goes_on_with_what_was_kept(
    server: ApiServer, tmp_path: Path
) -> None:
    put_node(server, "a", "10.0.0.1")
    put_pod(server, "p", "a", "10.1.0.1")
    keep = tmp_path / "members.json"

    async def first(one: Following) -> None:
        await one.until_names(PODS, ["p"])
        await until(lambda: keep.exists() and b'"p"' in keep.read_bytes())

    async def again(one: Following) -> None:
        assert one.names(NODES) == ["a"]
        assert one.names(PODS) == ["p"]
        await until(lambda: "HTTP 503" in _problems(one)["kubernetes nodes"])
        assert f"from {keep}" in one.roll.problems["kubernetes nodes"]
        put_node(server, "b", "10.0.0.2")
        server.well()
        await one.until_names(NODES, ["a", "b"])
        await until(lambda: not _problems(one))

    play(server, first, keep=str(keep))
    server.fail(Fault("status", 503))
    play(server, again, keep=str(keep))


def test_a_start_without_the_api_and_with_nothing_kept_waits(server: ApiServer) -> None:
    server.fail(Fault("status", 503))

    async def test(one: Following) -> None:
        assert one.names(NODES) is None
        await until(lambda: "HTTP 503" in _problems(one)["kubernetes nodes"])
        assert one.names(NODES) is None

    play(server, test)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "kept members are not used"),
        (b'["x", 1, [["a"]], null, null]', "kept members are not used"),
        (json.dumps(["other", 1.0, [], None, None]).encode(), "of another cluster or selection"),
    ],
)
def test_what_was_kept_is_used_for_the_same_question_only(
    server: ApiServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    said: str,
) -> None:
    keep = tmp_path / "members.json"
    keep.write_bytes(content)
    with caplog.at_level(logging.INFO):
        config = controller_config.Kubernetes(keep=str(keep))
        Kubernetes(config, Access("test", server.url), SystemClock())
    assert said in caplog.text
    assert str(keep) in caplog.text


def test_members_that_cannot_be_kept_are_said_and_served(
    server: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_node(server, "a", "10.0.0.1")

    async def test(one: Following) -> None:
        await one.until_names(NODES, ["a"])
        await until(lambda: "members cannot be kept: No such file" in caplog.text)

    play(server, test, keep=str(tmp_path / "none" / "members.json"))
