"""What the agent's page says of its probes: bounded, the worst first, nothing where nothing is."""

from exporter.pages.section import Cell, Section
from exporter.testing import FakeClock
from pingmesh.metrics import Board
from pingmesh.pages.agent import MOST_PAIRS, sections
from tests.pingmesh.test_metrics import FACTS, Mesh

TWO_RACKS = """mesh:
  a: {name: me, ips: [h1, h2], labels: {zone: z, rack: r1}}
  b: {name: them, ips: [h3, h4], labels: {zone: z, rack: r2}}
"""


def shown(mesh: Mesh, probing: bool = True, targets: int = 4) -> dict[str, Section]:
    mesh.clock.set_wall(FACTS.ended + 7)
    return {each.name: each for each in sections(mesh.board, mesh.clock, probing, targets)}


def test_without_a_list_there_is_nothing_to_show() -> None:
    clock = FakeClock()
    assert list(sections(Board(clock), clock, probing=False, targets=0)) == []


def test_before_the_first_round_that_is_said() -> None:
    [section] = shown(Mesh(TWO_RACKS)).values()
    assert (section.rows, section.empty) == ((), "The first round is under way.")
    assert section.note == "4 targets in the list."


def test_failures_come_first_then_the_slowest() -> None:
    mesh = Mesh(TWO_RACKS)
    mesh.round(0.3, 0.0001, "timeout", 0.5)
    found = shown(mesh)
    assert found["pairs"].rows == (
        ("h3", "them", Cell("lost: timeout", "off")),
        ("h4", "them", "500.00 ms"),
        ("h1", "me", "300.00 ms"),
    )
    assert found["lossy"].rows == (("z/r2", "icmp", Cell("50 %", "off")),)
    assert found["pingmesh"].rows == (("x", "3", Cell("1", "off"), Cell("0", ""), "7 s ago"),)


def test_a_round_that_went_well_says_so() -> None:
    mesh = Mesh(TWO_RACKS)
    mesh.round(0.1, 0.1, 0.1, 0.1)
    found = shown(mesh)
    assert (found["pairs"].rows, found["pairs"].empty) == ((), "Every target answered in time.")
    assert "lossy" not in found


def test_a_mesh_of_thousands_shows_ten_and_how_many_more_there_are() -> None:
    names = ", ".join(f"h{number}" for number in range(5000))
    mesh = Mesh(f"mesh: {{a: {{name: t, ips: [{names}]}}}}")
    mesh.round(*["timeout"] * 5000)
    rows = shown(mesh)["pairs"].rows
    assert len(rows) == MOST_PAIRS + 1
    assert rows[-1][0] == f"and {5000 - MOST_PAIRS} more"


def test_a_list_that_is_not_probed_any_more_says_so() -> None:
    mesh = Mesh(TWO_RACKS)
    mesh.round(0.1, 0.1, 0.1, 0.1)
    assert shown(mesh, probing=False)["pingmesh"].note.startswith("Nothing is probed. ")
