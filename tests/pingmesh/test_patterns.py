"""What is broken is named, and nothing else: kind and member, over seeded meshes."""

import random

import pytest

from pingmesh.controller_config import Thresholds
from pingmesh.mesh import Report, Tally, rows
from pingmesh.patterns import Fault, faults, slow_faults, votes
from pingmesh.topology import Member, Topology
from tests.pingmesh.confusion import (
    KINDS,
    Mesh,
    Truth,
    members,
    read,
    scenario,
    simulate,
    verdict,
)

SEEDS = 30
SHAPE = (3, 2, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_of_thirty_meshes_with_one_fault_at_least_28_are_read_right(kind: str) -> None:
    read_as = []
    for seed in range(SEEDS):
        fault, mesh = scenario(kind, seed, SHAPE)
        read_as.append(verdict(fault, read(mesh)))
    wrong = [each for each in read_as if each != kind]
    assert len(wrong) <= 2, wrong
    if kind == "none":
        assert not wrong


def with_loss(loss: Truth, shape: tuple[int, int, int] = SHAPE, rtt: float = 0.0004) -> Mesh:
    topology = Topology(members(*shape))
    return simulate(topology, loss, random.Random(7), rtt)


def named(found: list[Fault]) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.kind, each.members) for each in found]


def test_a_zone_that_is_down_is_podset_down_with_a_white_cross() -> None:
    silent = frozenset(m.name for m in members(*SHAPE) if m.zone == "z1")
    mesh = with_loss(
        Truth("", (), lambda a, b: float((a.zone == "z1") != (b.zone == "z1")), silent)
    )
    [found] = read(mesh)
    assert (found.kind, found.members) == ("podset down", ("z1",))
    assert "white cross" in found.evidence


def test_of_two_zones_the_silent_one_is_down() -> None:
    silent = frozenset(m.name for m in members(2, 2, 3) if m.zone == "z1")
    mesh = with_loss(Truth("", (), lambda a, b: float(a.zone != b.zone), silent), (2, 2, 3))
    assert named(read(mesh)) == [("podset down", ("z1",))]


def test_a_zone_whose_edge_loses_is_podset_failure_with_a_red_cross() -> None:
    mesh = with_loss(Truth("", (), lambda a, b: 0.2 * ((a.zone == "z1") != (b.zone == "z1"))))
    [found] = read(mesh)
    assert (found.kind, found.members) == ("podset failure", ("z1",))
    assert "red cross" in found.evidence


def test_loss_between_all_zones_is_spine_failure_with_a_green_diagonal() -> None:
    mesh = with_loss(Truth("", (), lambda a, b: 0.1 * (a.zone != b.zone)))
    [found] = read(mesh)
    assert (found.kind, found.members) == ("spine failure", ())
    assert "green diagonal" in found.evidence


def test_loss_everywhere_is_one_fault_and_not_one_of_each_rack() -> None:
    [found] = read(with_loss(Truth("", (), lambda a, b: 0.05)))
    assert (found.kind, found.members) == ("mesh lossy", ())


def test_two_faults_at_once_are_both_named() -> None:
    def loss(a: Member, b: Member) -> float:
        if "z2r1n2" in (a.name, b.name):
            return 0.4
        return float(("z0", "r0") in (a.rack_id, b.rack_id) and a.rack_id != b.rack_id)

    found = read(with_loss(Truth("", (), loss)))
    assert sorted(named(found)) == [("node lossy", ("z2r1n2",)), ("rack isolated", ("z0/r0",))]


def test_a_pair_that_fails_both_ways_is_said_once() -> None:
    mesh = with_loss(Truth("", (), lambda a, b: float({a.name, b.name} == {"z0r0n0", "z0r0n1"})))
    [found] = read(mesh)
    assert (found.kind, found.members) == ("black hole", ("z0r0n0", "z0r0n1"))
    assert found.evidence.endswith("and the other way 60 of 60")


def test_two_black_holes_of_one_node_are_two_and_not_the_node() -> None:
    dead = {("z0r0n0", "z0r0n1"), ("z0r0n0", "z0r0n2")}
    mesh = with_loss(Truth("", (), lambda a, b: float((a.name, b.name) in dead)), (3, 2, 8))
    assert sorted(named(read(mesh))) == [("black hole", pair) for pair in sorted(dead)]


def lately(mesh: Mesh, share: float) -> Mesh:
    """Everywhere that something was lost, this share of ten more probes is now."""
    reports = {}
    for name, report in mesh.reports.items():
        racks, recent = {}, {}
        for rack, tally in report.racks.items():
            lost = 10 * share if tally.lost > 1 else 0.0
            racks[rack] = Tally(tally.sent + 10, tally.lost + lost, tally.slow)
            recent[rack] = Tally(10, lost)
        reports[name] = report._replace(racks=racks, recent=recent)
    return mesh._replace(reports=reports)


def test_a_cut_that_began_lately_is_named_for_what_it_is_now() -> None:
    truth, mesh = scenario("rack uplink", 4)
    [found] = read(lately(mesh, 1.0))
    assert (found.kind, found.members) == ("rack isolated", truth.members)
    assert " of the last " in found.evidence


def test_a_fault_that_is_over_is_not_named() -> None:
    _, mesh = scenario("rack uplink", 4)
    assert [each.kind for each in read(mesh)] == ["rack uplink"]
    assert read(lately(mesh, 0.0)) == []


def test_evidence_counts_probes_and_pairs() -> None:
    mesh = with_loss(
        Truth("", (), lambda a, b: float("z0r0n0" in (a.name, b.name)), frozenset({"z0r0n0"}))
    )
    [found] = read(mesh)
    assert found.bad == found.sent
    assert found.evidence == (
        f"{found.sent:.0f} of {found.sent:.0f} probes lost (100.0%) on {found.pairs} of "
        f"{found.pairs} pairs that cross it; its agent is not heard of"
    )


@pytest.mark.parametrize(
    ("late", "fault"),
    [
        (lambda a, b: False, None),
        (lambda a, b: "z0r0n0" in (a.name, b.name), ("node slow", ("z0r0n0",))),
        (
            lambda a, b: a.rack_id != b.rack_id and ("z1", "r1") in (a.rack_id, b.rack_id),
            ("rack slow", ("z1/r1",)),
        ),
        (lambda a, b: sorted((a.zone, b.zone)) == ["z0", "z2"], ("zone pair slow", ("z0", "z2"))),
        (lambda a, b: a.zone != b.zone, ("spine slow", ())),
        (lambda a, b: True, ("mesh slow", ())),
    ],
)
def test_what_is_slow_is_named_too(
    late: "object", fault: tuple[str, tuple[str, ...]] | None
) -> None:
    assert callable(late)
    topology = Topology(members(*SHAPE))
    reports = {}
    for name in topology.names:
        source = topology.member(name)
        racks = {}
        for tie in topology.ties(name):
            sent = 60.0 * len(tie.members)
            slow = 60.0 * sum(bool(late(source, target)) for target in tie.members)
            buckets = ((0.001, sent - slow), (0.005, 0.0), (0.05, slow), (float("inf"), 0.0))
            racks[tie.rack] = Tally(sent, 0, buckets)
        reports[name] = Report(name, racks)
    addresses = {n: topology.member(n).addresses[0] for n in topology.names}
    found = slow_faults(rows(topology, reports, addresses, Thresholds()))
    assert named(found) == ([fault] if fault else [])


def test_votes_put_the_broken_uplink_first() -> None:
    fault, mesh = scenario("rack uplink", 3)
    ranked = votes(rows(mesh.topology, mesh.reports, mesh.addresses, Thresholds()))
    assert ranked[0].component == f"rack uplink {fault.members[0]}"
    assert [each.votes for each in ranked] == sorted((e.votes for e in ranked), reverse=True)


def test_nothing_heard_is_nothing_named() -> None:
    assert faults([], {"a", "b"}) == []
    assert votes([]) == []
