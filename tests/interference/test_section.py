"""What the agent's page says of incidents: the newest ten, with a link to all."""

import msgspec

from exporter.interference.section import MOST, section
from exporter.pages.section import Cell
from tests.web.shown import INCIDENT, INTERFERENCE


def test_an_incident_is_a_row_in_words() -> None:
    shown = section(INTERFERENCE, INCIDENT.began + 90)
    assert shown.rows == (
        (
            "cpu wait of online work",
            Cell("critical", "off"),
            "shop/checkout-7d9f",
            "firing: waits for a CPU 42 % of the time, over 20 %",
            "90 s",
        ),
    )
    assert shown.link is not None
    assert (shown.link.path, shown.urgent) == ("/interference", True)
    assert shown.note.startswith("Dry run")


def test_nothing_disturbed_is_said_and_is_not_urgent() -> None:
    quiet = msgspec.structs.replace(INTERFERENCE, incidents=(), dry_run=False)
    shown = section(quiet, 0.0)
    assert (shown.rows, shown.empty, shown.note) == ((), "Nothing is being disturbed.", "")
    assert not shown.urgent


def test_of_many_incidents_ten_are_shown() -> None:
    many = msgspec.structs.replace(INTERFERENCE, incidents=(INCIDENT,) * 500)
    rows = section(many, INCIDENT.began).rows
    assert len(rows) == MOST + 1
    assert rows[-1][0] == "and 490 more"
