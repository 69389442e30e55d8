"""A frame of `kernmesh top` fits 80 columns and says what the page says."""

import io

import msgspec
import pytest
from rich.console import Console, RenderableType

from exporter.pages.section import Points
from exporter.pages.status_json import StatusJson, as_struct
from exporter.terminal.asking import Seen
from exporter.terminal.frame import away, bar, blocks, frame
from tests.web.shown import CHARTS, EMPTY, STATUS

SEEN = Seen(as_struct(STATUS, CHARTS), {"timers": 1203.6, "oomkill": 2.0})


def drawn(what: RenderableType, width: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(what)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_frame_fits_the_terminal_and_hides_nothing_that_is_wrong(width: int) -> None:
    lines = drawn(frame(SEEN), width)
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    for each in (
        "kernmesh 1.2.3 on node-a, up 1 h 2 min, ready",
        "! the last reload was refused",
        "! collector process: permission denied",
        "critical",
        "pressed",
        "Programs: 2 of 3 running",
    ):
        assert each in text


def test_programs_are_in_the_order_of_their_events_and_those_that_are_off_come_last() -> None:
    lines = drawn(frame(SEEN))
    first = next(number for number, line in enumerate(lines) if line.startswith("Programs"))
    rows = [line.split() for line in lines[first + 2 : first + 5]]
    assert [row[0] for row in rows] == ["timers", "oomkill", "biolatency"]
    assert rows[0][1:4] == ["1,204/s", "0.32", "%"]
    assert rows[1][1:3] == ["2/s", "–"]
    assert rows[2][1] == "off"


@pytest.mark.parametrize("urgent", [False, True])
def test_what_the_agent_calls_urgent_stands_above_what_is_good_to_know(urgent: bool) -> None:
    status = as_struct(STATUS, CHARTS)
    section = msgspec.structs.replace(status.sections[-1], title="This one", urgent=urgent)
    lines = drawn(frame(Seen(msgspec.structs.replace(status, sections=(section,)), {})))
    usage, this = (
        next(number for number, line in enumerate(lines) if line.startswith(title))
        for title in ("Usage", "This one")
    )
    assert (this < usage) == urgent


def test_a_small_terminal_gets_the_first_programs_and_how_many_more() -> None:
    text = "\n".join(drawn(frame(SEEN, 1)))
    assert "timers" in text
    assert "oomkill" not in text
    assert "and 2 more" in text


def test_an_agent_that_has_just_started_has_a_frame() -> None:
    text = "\n".join(drawn(frame(Seen(as_struct(EMPTY, ()), {}))))
    assert "NOT READY: programs are being loaded" in text
    assert "Programs: 0 of 0 running" in text


def test_what_a_node_says_of_itself_is_text_and_no_markup() -> None:
    status = as_struct(STATUS._replace(node="[red]x[/red]"), CHARTS)
    assert "[red]x[/red]" in "\n".join(drawn(frame(Seen(status, {}))))


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.0, "░" * 14), (50.0, "█" * 7 + "░" * 7), (180.0, "█" * 14)]
)
def test_a_bar_of_what_is_unknown_is_no_bar_of_0(value: float | None, text: str) -> None:
    assert bar(value) == text


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ((), "    "),
        ((0.0, None, 50.0, 100.0), "▁ ▅█"),
        ((None, None, None, None, None, None, 1.0, 1.0), "   █"),
        ((100.0,), "   █"),
    ],
)
def test_a_gap_is_a_blank(points: Points, text: str) -> None:
    assert blocks(points, 4) == text


def test_an_agent_that_is_away_is_said_with_the_reason() -> None:
    lines = drawn(away("http://a:9435: Connection refused", 2.0))
    assert lines == [
        "The agent does not answer.",
        "http://a:9435: Connection refused",
        "Asked again every 2 s; Ctrl-C ends.",
    ]


def test_a_status_of_a_newer_agent_is_read_too() -> None:
    newer = msgspec.json.encode({**msgspec.to_builtins(SEEN.status), "new_key": 1})
    assert msgspec.json.decode(newer, type=StatusJson) == SEEN.status
