"""Nodes and pods as members: what becomes one, what is left out and why, whoever came first."""

import json
import random
from typing import Any

import pytest

from pingmesh.controller_config import ControllerConfig, Kubernetes, Sources
from pingmesh.kubernetes_objects import (
    Found,
    NodeSeen,
    PodSeen,
    node_members,
    node_reducer,
    pod_members,
    pod_of,
)
from pingmesh.networks import Networks, make_networks
from pingmesh.optedin import choose_probers, most_per_prober
from pingmesh.pinglist import Pinglist, read_pinglist
from pingmesh.topology import Member, Topology

NONE = Networks()
REDUCE = node_reducer(Kubernetes().zone_labels, Kubernetes().rack_label)
OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def node(labels: dict[str, str] | None = None, *addresses: tuple[str, str]) -> dict[str, Any]:
    rows = [{"type": kind, "address": address} for kind, address in addresses]
    return {
        "metadata": {"name": "a", "labels": labels, "creationTimestamp": OLD},
        "status": {"addresses": rows},
    }


def pod(**parts: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "metadata": {"namespace": "shop", "name": "p"},
        "spec": {"nodeName": "a"},
        "status": {"phase": "Running", "podIP": "10.1.0.1"},
    }
    for key, value in parts.items():
        found[key] = found[key] | value
    return found


def a_node(name: str, *addresses: str, created: str = OLD, zone: str = "z") -> NodeSeen:
    return NodeSeen(name, zone, "r", addresses, created)


def a_pod(name: str, on: str, address: str = "10.1.0.1", namespace: str = "k") -> PodSeen:
    return PodSeen(namespace, name, on, (address,))


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        (None, ("", "")),
        ({"topology.kubernetes.io/zone": "east"}, ("east", "")),
        ({"failure-domain.beta.kubernetes.io/zone": "old"}, ("old", "")),
        (
            {
                "failure-domain.beta.kubernetes.io/zone": "old",
                "topology.kubernetes.io/zone": "east",
                "kernmesh.io/rack": "r7",
            },
            ("east", "r7"),
        ),
        ({"topology.kubernetes.io/zone": "", "kernmesh.io/rack": ""}, ("", "")),
    ],
)
def test_zone_and_rack_are_labels(labels: dict[str, str] | None, place: tuple[str, str]) -> None:
    found = REDUCE(node(labels, ("InternalIP", "10.0.0.1")))
    assert (found.zone, found.rack) == place


def test_a_node_is_probed_at_its_internal_addresses_of_both_families() -> None:
    found = REDUCE(
        node(
            {},
            ("Hostname", "a"),
            ("ExternalIP", "192.0.2.1"),
            ("InternalIP", "10.0.0.1"),
            ("InternalIP", "fd00::1"),
            ("InternalIP", "10.0.0.1"),
            ("InternalIP", "not an address"),
        )
    )
    assert found.addresses == ("10.0.0.1", "fd00::1")
    only = REDUCE(node({}, ("ExternalIP", "192.0.2.1")))
    assert only.addresses == ("192.0.2.1",)


def test_a_node_that_is_not_ready_is_a_member_all_the_same() -> None:
    well = node({}, ("InternalIP", "10.0.0.1"))
    ill = node({}, ("InternalIP", "10.0.0.1"))
    ill["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    ill["spec"] = {"unschedulable": True}
    assert REDUCE(well) == REDUCE(ill)


@pytest.mark.parametrize(
    "garbage",
    [
        {},
        {"metadata": None},
        {"metadata": {"name": 7}},
        {"metadata": {"name": "../x"}},
        {"metadata": {"name": "a", "labels": ["x"]}, "status": []},
        {"metadata": {"name": "a", "labels": {"kernmesh.io/rack": "<b>"}}},
        {"metadata": {"name": "a", "labels": {"kernmesh.io/rack": {}}, "x": 1}, "status": "x"},
        {"metadata": {"name": "a"}, "status": {"addresses": ["10.0.0.1"]}},
        {"metadata": {"name": "a"}, "status": {"addresses": 7}},
    ],
)
def test_what_is_no_node_is_refused_as_a_cache_takes_it(garbage: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        REDUCE(garbage)
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        pod_of({**garbage, "status": 7})


@pytest.mark.parametrize(
    ("parts", "trouble"),
    [
        ({}, ""),
        ({"status": {"podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd01::1"}]}}, ""),
        ({"status": {"podIP": None, "phase": "Pending"}}, "no address"),
        ({"status": {"podIP": "soon"}}, "no address"),
        ({"status": {"phase": "Succeeded"}}, "ended"),
        ({"status": {"phase": "Failed"}}, "ended"),
        ({"metadata": {"deletionTimestamp": NEW}}, "ended"),
        ({"spec": {"hostNetwork": True}}, "host network"),
    ],
)
def test_pods_that_cannot_be_probed_say_why(parts: dict[str, Any], trouble: str) -> None:
    found = pod_of(pod(**parts))
    assert found.trouble == trouble
    assert bool(found.addresses) == (not trouble)


def test_nodes_without_an_address_are_left_out_and_counted() -> None:
    found = node_members([a_node("b", "10.0.0.2"), a_node("a"), a_node("c", "10.0.0.1", "::1")])
    assert [each.name for each in found.members] == ["b", "c"]
    assert found.left_out == {"no address": 1}


@pytest.mark.parametrize("turned", [1, -1])
def test_an_address_of_two_nodes_is_the_younger_one_s(turned: int) -> None:
    there = [
        a_node("old", "10.0.0.1", created=OLD),
        a_node("two", "10.0.0.1", "10.0.0.2", created=NEW),
        a_node("half", "10.0.0.2", "10.0.0.3", created=OLD),
    ]
    found = node_members(there[::turned])
    assert [(each.name, each.addresses) for each in found.members] == [
        ("half", ("10.0.0.3",)),
        ("two", ("10.0.0.1", "10.0.0.2")),
    ]
    assert found.left_out == {"address of another": 1}


def test_pods_are_where_their_node_is_and_left_out_where_that_is_not_known() -> None:
    nodes = [a_node("a", "10.0.0.1", zone="east")]
    found = pod_members(
        nodes,
        [a_pod("p1", "a"), a_pod("p2", "elsewhere"), PodSeen("k", "p3", "a", (), "ended")],
        [a_pod("web", "a", "10.2.0.1", "shop"), a_pod("p1", "a")],
    )
    assert found.members == (
        Member("p1", "east", "r", ("10.1.0.1",), "a"),
        Member("shop/web", "east", "r", ("10.2.0.1",), "a", agent=False),
    )
    assert found.left_out == {"on no known node": 1, "ended": 1}


@pytest.mark.parametrize("turned", [1, -1])
def test_of_two_agents_of_one_name_one_counts_always_the_same(turned: int) -> None:
    nodes = [a_node("a", "10.0.0.1"), a_node("b", "10.0.0.2")]
    pods = [a_pod("p", "b", "10.1.0.2", "y"), a_pod("p", "a", "10.1.0.1", "x"), a_pod("b", "b")]
    found = pod_members(nodes, pods[::turned], ())
    assert [each.addresses for each in found.members] == [("10.1.0.1",)]
    assert found.left_out == {"name of another": 2}


def test_members_that_were_made_before_are_the_same_objects_unless_their_node_has_moved() -> None:
    nodes, pods = [a_node("a", "10.0.0.1"), a_node("b", "10.0.0.2")], [a_pod("p", "a")]
    first, again = node_members(nodes), node_members(nodes[::-1], node_members(nodes))
    assert first.members == again.members
    before = node_members(nodes)
    pairs = zip(node_members(nodes, before).members, before.members, strict=True)
    assert all(a is b for a, b in pairs)
    at_first = pod_members(nodes, pods, ())
    assert pod_members(nodes, pods, (), at_first).members[0] is at_first.members[0]
    moved = [nodes[0]._replace(rack="other"), nodes[1]]
    assert pod_members(moved, pods, (), at_first).members[0].rack == "other"


def cluster(nodes: int, shops: int) -> tuple[Found, Found]:
    there = [
        NodeSeen(f"n{i}", f"z{i % 3}", f"r{i % 12}", (f"10.0.{i >> 8}.{i & 255}",), OLD)
        for i in range(nodes)
    ]
    probers = [a_pod(f"p{i}", f"n{i}", f"10.1.{i >> 8}.{i & 255}") for i in range(nodes)]
    opted = [a_pod(f"s{i}", f"n{i % nodes}", f"10.2.{i >> 8}.{i & 255}") for i in range(shops)]
    for each in (there, probers, opted):
        random.shuffle(each)
    return node_members(there), pod_members(there, probers, opted)


def networks(found: tuple[Found, Found], before: Networks = NONE) -> Networks:
    config = ControllerConfig(source=Sources(Kubernetes()))
    members = {"nodes": list(found[0].members), "pods": list(found[1].members)}
    return make_networks(config, Pinglist(), members, before)  # type: ignore[arg-type]


def test_replicas_say_the_same_in_whatever_order_they_have_heard_of_members() -> None:
    one, two = networks(cluster(48, 100)), networks(cluster(48, 100))
    for name in [f"{kind}{i}" for kind in "np" for i in range(48)]:
        a, b = one.of(name), two.of(name)
        assert a is not None and b is not None
        assert a.yaml(name) == b.yaml(name)
        assert json.loads(a.json(name))["mesh"].keys() == read_pinglist(a.yaml(name)).mesh.keys()


def test_nodes_probe_nodes_and_probers_probers_and_pods_that_opted_in() -> None:
    made = networks(cluster(48, 100))
    for name, type_, net in (("n0", "NodeIP", "10.0."), ("p0", "PodIP", ("10.1.", "10.2."))):
        lists = made.of(name)
        assert lists is not None
        groups = read_pinglist(lists.yaml(name)).mesh.values()
        assert {group.type for group in groups} == {type_}
        assert all(ip.startswith(net) for group in groups for ip in group.ips)
        opted = [group for group in groups if group.name.startswith("opted in: ")]
        assert bool(opted) == (name == "p0")
        # What is an application's is no fault of the rack's.
        assert all(not group.labels and group.probe == "icmp" for group in opted)
    assert [(made.made[each].opted_in, made.made[each].unprobed) for each in ("nodes", "pods")] == [
        (0, 0),
        (100, 0),
    ]
    assert made.of("s0") is None


def test_a_network_whose_members_stay_keeps_its_lists() -> None:
    found = cluster(12, 5)
    first = networks(found)
    fewer = Found(found[1].members[1:])
    second = networks((found[0], fewer), first)
    assert second.lists("nodes") is first.lists("nodes")
    assert second.lists("pods") is not first.lists("pods")


def test_a_network_whose_members_are_asked_for_anew_keeps_what_it_has() -> None:
    first = networks(cluster(12, 5))
    config = ControllerConfig(source=Sources(Kubernetes()))
    second = make_networks(config, Pinglist(), {"pods": None}, first)
    assert (second.made, second.waiting) == ({"pods": first.made["pods"]}, True)


def test_each_pod_is_probed_from_its_rack_its_zone_and_another_zone_and_nobody_has_much_more() -> (
    None
):
    _, found = cluster(120, 400)
    probers = [each for each in found.members if each.agent]
    targets = [each for each in found.members if not each.agent]
    racks = Topology(probers).racks
    bound = most_per_prober(len(targets), len(probers), 1250)
    chosen = choose_probers(racks, targets, bound)
    by_name = {each.name: each for each in probers}
    sources: dict[str, list[Member]] = {}
    for name, ties in chosen.ties.items():
        assert sum(len(tie.members) for tie in ties) <= bound
        for tie in ties:
            for target in tie.members:
                assert by_name[name].host != target.host
                sources.setdefault(target.name, []).append(by_name[name])
    assert chosen.unprobed == 0
    for target in targets:
        own, near, far = (
            [each.rack_id == target.rack_id for each in sources[target.name]],
            [
                each.zone == target.zone and each.rack != target.rack
                for each in sources[target.name]
            ],
            [each.zone != target.zone for each in sources[target.name]],
        )
        assert (sum(own), sum(near), sum(far)) == (1, 1, 1)


def test_a_prober_less_moves_few_pods() -> None:
    _, found = cluster(120, 400)
    probers = [each for each in found.members if each.agent]
    targets = [each for each in found.members if not each.agent]

    def pairs(there: list[Member]) -> set[tuple[str, str]]:
        chosen = choose_probers(Topology(there).racks, targets, 13)
        return {
            (name, target.name)
            for name, ties in chosen.ties.items()
            for tie in ties
            for target in tie.members
        }

    before, after = pairs(probers), pairs(probers[1:])
    assert len(before - after) <= 40


def test_pods_that_nobody_has_room_for_are_counted() -> None:
    here = Member("p", "", "", ("10.1.0.1",), "a")
    targets = [Member(f"s/{i}", "", "", ("10.2.0.1",), "b", agent=False) for i in range(3)]
    own = Member("s/own", "", "", ("10.2.0.2",), "a", agent=False)
    chosen = choose_probers(Topology([here]).racks, [*targets, own], 2)
    assert chosen.unprobed == 2
    assert choose_probers({}, targets, 0).unprobed == 3
    assert most_per_prober(3, 0, 1250) == 0
