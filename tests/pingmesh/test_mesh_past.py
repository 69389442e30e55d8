"""The past of a pair is what was kept of it: losses, and never well where that is not known."""

from dataclasses import dataclass, field

import pytest

from pingmesh.mesh import Report, Row, Tally
from pingmesh.mesh_past import MOST, Moment, Past
from pingmesh.mesh_reading import MOST_LOSSY, Reading
from pingmesh.pages.pair import pair_page, picture
from tests.pingmesh.confusion import scenario
from tests.web.shown import reading

_, WELL = scenario("none", 1)
A, B = WELL.topology.member("z0r0n0"), WELL.topology.member("z0r0n1")


@dataclass
class Story:
    """Readings a minute apart."""

    past: Past = field(default_factory=Past)
    now: Reading = field(default_factory=lambda: reading(WELL, 0.0)._replace(lossy=()))

    def read(self, lost: float = 0.0, silent: tuple[str, ...] = (), others: int = 0) -> None:
        rows = [Row(A, B, 60.0, lost, 0.0, 12.0, lost)] if lost else []
        rows += [Row(B, A, 60.0, 1.0, 0.0, 12.0, 1.0)] * others
        self.now = self.now._replace(at=self.now.at + 60, lossy=tuple(rows), silent=silent)
        self.past.note(self.now)

    def states(self) -> list[str]:
        return [moment.state for moment in self.past.pair(A.name, B.name)]


def test_losses_are_kept_with_their_numbers_and_the_rest_is_no_loss() -> None:
    story = Story()
    story.read()
    story.read(lost=3.0)
    assert story.past.pair(A.name, B.name) == (
        Moment(60.0, "no loss"),
        Moment(120.0, "lost", 12.0, 3.0),
    )


def test_a_source_that_was_not_heard_is_unknown_and_not_well() -> None:
    story = Story()
    story.read(silent=(A.name,))
    story.read(silent=(B.name,))
    assert story.states() == ["unknown", "no loss"]


def test_where_more_was_lost_than_is_kept_the_others_are_unknown() -> None:
    story = Story()
    story.read(others=MOST_LOSSY)
    assert story.states() == ["unknown"]


def test_who_probes_whom_may_have_been_another_before_the_members_changed() -> None:
    story = Story()
    story.read()
    story.read(lost=2.0)
    story.now = story.now._replace(topology=scenario("none", 2)[1].topology)
    story.read()
    assert story.states() == ["unknown", "lost", "no loss"]


def test_only_the_last_readings_are_kept() -> None:
    story = Story()
    for _ in range(MOST + 5):
        story.read()
    assert len(story.states()) == MOST


def test_the_picture_says_in_words_what_it_shows() -> None:
    moments = [Moment(0.0, "lost", 10, 5), Moment(30.0, "no loss"), Moment(60.0, "unknown")]
    svg = picture(moments, "<a>")
    assert svg.count("<rect") == 2
    assert "&lt;a&gt;, 3 readings since 00:00 UTC: losses in 1, none in 1, unknown 1" in svg


def test_a_pair_shows_both_directions_and_the_fault_that_it_crosses() -> None:
    fault, mesh = scenario("rack uplink", 1)
    found, past = reading(mesh), Past()
    past.note(found)
    rack = fault.members[0].replace("/", "")
    other = "z1r1" if rack != "z1r1" else "z0r1"
    html = pair_page(found, f"{rack}n0", f"{other}n0", past.pair, "/mesh")
    assert "rack uplink" in html
    assert f"{rack}n0 → {other}n0" in html
    assert f"{other}n0 → {rack}n0" in html
    assert 'href="/mesh?rack=' in html


def test_a_pair_that_nobody_probes_or_hears_of_is_not_well() -> None:
    _, mesh = scenario("none", 1)
    unheard = reading(mesh)._replace(reports={})
    html = pair_page(unheard, A.name, B.name, lambda a, b: (), "/mesh")
    assert "no data" in html
    assert "well" not in html
    alone = pair_page(reading(mesh), A.name, A.name, lambda a, b: (), "/mesh")
    assert "not probed" in alone


@pytest.mark.parametrize("lost", [0.0, 60.0])
def test_a_pair_s_state_is_its_cell_s(lost: float) -> None:
    rack = B.rack_id
    report = Report(A.name, {rack: Tally(120.0, lost, ((0.001, 120.0 - lost),))}, 20)
    found = reading(WELL)._replace(reports={A.name: report})
    colour = found.pair(A, B).colour
    assert colour == ("red" if lost else "green")
    html = pair_page(found, A.name, B.name, lambda a, b: (), "/mesh")
    assert ("too slow or lossy" if lost else "well") in html
