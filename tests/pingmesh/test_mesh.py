"""The matrix: what is slow, lossy or not heard of; and what is not heard of is never green."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingmesh.controller_config import Level, Thresholds
from pingmesh.mesh import Report, Tally, merged, over, p99, rows, wilson_lower
from pingmesh.mesh_matrix import Cell, node_matrix, rack_matrix
from pingmesh.topology import Member, RackId, Topology
from tests.pingmesh.confusion import members

INF = float("inf")
FAST = ((0.001, 1000.0), (INF, 0.0))
SLOW = ((0.001, 900.0), (0.01, 100.0), (INF, 0.0))
PLAIN = Thresholds()
TALLIES = st.builds(
    lambda sent, lost, slow: Tally(sent, min(lost, sent), ((0.001, sent - min(lost, sent)), *slow)),
    st.integers(0, 500),
    st.integers(0, 500),
    st.just(((INF, 0.0),)),
)


def two_racks() -> tuple[Topology, dict[str, str]]:
    topology = Topology(members(1, 2, 3))
    return topology, {name: topology.member(name).addresses[0] for name in topology.names}


def cell(*tallies: Tally, thresholds: Thresholds = PLAIN) -> Cell:
    """From rack z0/r0 to z0/r1: one tally per source."""
    topology, _ = two_racks()
    sources = [m.name for m in topology.racks[RackId("z0", "r0")].members]
    found = {
        name: Report(name, {RackId("z0", "r1"): tally})
        for name, tally in zip(sources, tallies, strict=False)
    }
    return rack_matrix(topology, found, thresholds).cells[0][1]


@pytest.mark.parametrize(
    ("tallies", "colour", "why"),
    [
        ((), "none", "no data"),
        ((Tally(0, 0),), "none", "no data"),
        ((Tally(1000, 0, FAST),), "green", "P99 0.99 ms"),
        ((Tally(1000, 0, SLOW),), "red", "P99 9.10 ms, over 5 ms"),
        ((Tally(1000, 0, ((0.004, 0.0), (0.005, 9.0), (INF, 0.0))),), "yellow", "P99 4.99 ms"),
        # One loss in 60 is 1.7 %, and says nothing.
        ((Tally(60, 1, FAST), Tally(60, 0, FAST)), "green", "P99"),
        # Two, but by one source: something is there, nobody confirms it.
        ((Tally(60, 2, FAST), Tally(60, 0, FAST)), "yellow", "2 of 120 probes lost, by one source"),
        ((Tally(60, 1, FAST), Tally(60, 1, FAST)), "red", "2 of 120 probes lost"),
        # Two of two sources, in so many that it may be chance.
        ((Tally(9000, 1, FAST), Tally(9000, 1, FAST)), "green", "P99"),
        ((Tally(60, 60), Tally(60, 60)), "red", "120 of 120 probes lost"),
        ((Tally(60, 60),), "yellow", "60 of 60 probes lost, by one source"),
        ((Tally(1, 1),), "yellow", "1 of 1 probes lost, by one source"),
    ],
)
def test_a_cell_s_colour_and_why(tallies: tuple[Tally, ...], colour: str, why: str) -> None:
    found = cell(*tallies)
    assert (found.colour, found.why[: len(why)]) == (colour, why)


def test_thresholds_are_by_distance() -> None:
    thresholds = Thresholds(zone=Level(20.0, 30.0))
    assert cell(Tally(1000, 0, SLOW), thresholds=thresholds).colour == "green"
    assert cell(Tally(1000, 0, SLOW), thresholds=Thresholds(rack=Level(20.0, 30.0))).colour == "red"


@given(st.lists(st.one_of(st.none(), TALLIES), min_size=6, max_size=6))
def test_what_is_not_heard_of_is_never_green(tallies: list[Tally | None]) -> None:
    topology, addresses = two_racks()
    found = {}
    for name, tally in zip(sorted(topology.names), tallies, strict=True):
        if tally is not None:
            found[name] = Report(name, {RackId("z0", "r1"): tally})
    for cells in (
        rack_matrix(topology, found, PLAIN).cells,
        node_matrix(
            topology, found, addresses, PLAIN, RackId("z0", "r0"), RackId("z0", "r1")
        ).cells,
    ):
        for each in (each for line in cells for each in line):
            if not each.heard or not each.sent or each.lost >= each.sent:
                assert each.colour != "green"
            assert (each.colour == "blank") == (each.pairs == 0)
            assert (each.p99 is None) == (each.sent <= each.lost)


def test_a_rack_of_one_has_nothing_to_probe_in_itself() -> None:
    topology = Topology([Member("a", "z", "r", ("::1",)), Member("b", "z", "s", ("::2",))])
    matrix = rack_matrix(topology, {}, PLAIN)
    assert matrix.names == ("z/r", "z/s")
    assert [[each.colour for each in line] for line in matrix.cells] == [
        ["blank", "none"],
        ["none", "blank"],
    ]


def test_nodes_of_a_rack_show_which_of_them_fails() -> None:
    topology, addresses = two_racks()
    own = RackId("z0", "r0")
    names = [m.name for m in topology.racks[own].members]
    found = {
        name: Report(name, {own: Tally(120, 40, FAST)}, 20, {addresses[names[2]]: 13})
        for name in names[:2]
    }
    matrix = node_matrix(topology, found, addresses, PLAIN, own, own)
    assert matrix.names == tuple(names)
    assert [[each.colour for each in line] for line in matrix.cells] == [
        ["blank", "green", "red"],
        ["green", "blank", "red"],
        ["none", "none", "blank"],
    ]
    assert matrix.cells[0][2].why == "40 of 60 probes lost"


def test_losses_within_a_rack_go_to_those_that_were_seen_failing() -> None:
    topology, addresses = two_racks()
    own = RackId("z0", "r0")
    one, two, three = (m.name for m in topology.racks[own].members)
    seen = {
        one: Report(one, {own: Tally(120, 9)}, 20, {addresses[two]: 2, addresses[three]: 1}),
        two: Report(two, {own: Tally(120, 4)}, 20, {}),  # in rounds that nobody looked at
    }
    lost = {(r.source.name, r.target.name): r.lost for r in rows(topology, seen, addresses, PLAIN)}
    assert lost[one, two] == 6
    assert lost[one, three] == 3
    assert lost[two, one] > lost[two, three]  # it lost most itself
    assert lost[two, one] + lost[two, three] == pytest.approx(4)


@pytest.mark.parametrize(
    ("lost", "sent", "least"),
    [(0, 0, 0.0), (0, 100, 0.0), (1, 60, 0.00295), (2, 120, 0.00458), (50, 100, 0.4038)],
)
def test_the_wilson_bound_is_as_in_tables(lost: int, sent: int, least: float) -> None:
    assert wilson_lower(lost, sent) == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize(
    ("slow", "milliseconds"),
    [
        ((), None),
        (((0.001, 0.0), (INF, 0.0)), None),
        (((0.001, 100.0), (INF, 0.0)), 0.99),
        (((0.001, 98.0), (0.002, 2.0), (INF, 0.0)), 1.5),
        (((0.001, 50.0), (INF, 50.0)), 1.0),
    ],
)
def test_p99_lies_within_its_bucket(
    slow: tuple[tuple[float, float], ...], milliseconds: float | None
) -> None:
    found = p99(Tally(100, 0, slow))
    assert found == (milliseconds if milliseconds is None else pytest.approx(milliseconds))


def test_tallies_add_up_bucket_by_bucket() -> None:
    both = merged([Tally(1, 0, ((1.0, 1.0),)), Tally(3, 1, ((0.5, 1.0), (1.0, 1.0)))])
    assert both == Tally(4, 1, ((0.5, 1.0), (1.0, 2.0)))
    assert over(both, 0.5) == 2
    assert over(both, 1.0) == 0


def test_reports_of_strangers_are_passed_over() -> None:
    topology, addresses = two_racks()
    stranger = Report("who", {RackId("z0", "r0"): Tally(10, 10)})
    assert list(rows(topology, {"who": stranger}, addresses, PLAIN)) == []
