"""The landing page says what runs, what does not and why, and escapes what it is given."""

import pytest

from exporter.pages.landing import (
    DEFAULT_LINKS,
    CollectorRow,
    ProgramRow,
    Status,
    landing_page,
    uptime_text,
)
from tests.pages.outline import Outline

STATUS = Status(
    version="1.2.3",
    node="node-a",
    uptime_seconds=3725,
    not_ready=None,
    programs=(
        ProgramRow("timers", "tp_btf/timer_start", events=1203.6),
        ProgramRow("biolatency", None, "block_rq_issue: no such tracepoint"),
        ProgramRow("oomkill", "tracepoint/oom/mark_victim", notes=("scope unknown here",)),
    ),
    collectors=(
        CollectorRow("usage", True, "2 series"),
        CollectorRow("process", False, "permission denied"),
        CollectorRow("oomkill", None),
    ),
    links=DEFAULT_LINKS,
)


@pytest.mark.parametrize(
    "text",
    [
        "kernmesh on node-a",
        "Version 1.2.3, up 1 h 2 min, ready",
        "eBPF programs: 2 of 3 running",
        "timers on 1,204/s tp_btf/timer_start",
        "biolatency off – block_rq_issue: no such tracepoint",
        "oomkill on – tracepoint/oom/mark_victim scope unknown here",
        "usage good 2 series",
        "process failed permission denied",
        "oomkill none yet",
    ],
)
def test_it_shows(text: str) -> None:
    assert text in Outline(landing_page(STATUS)).text


def test_it_links_every_endpoint_and_loads_nothing() -> None:
    outline = Outline(landing_page(STATUS))
    assert outline.links == [
        "/metrics",
        "/statistics",
        "/interference",
        "/status.json",
        "/-/healthy",
        "/-/ready",
    ]
    assert outline.loads == []
    assert not {"script", "img", "link", "iframe"} & outline.tags


def test_it_is_made_for_phones_and_for_dark_rooms() -> None:
    page = landing_page(STATUS)
    assert 'name="viewport" content="width=device-width' in page
    assert "prefers-color-scheme: dark" in page


def test_everything_is_escaped() -> None:
    evil = "<script>alert('&\"')</script>"
    page = landing_page(
        Status(
            evil,
            evil,
            0,
            evil,
            (ProgramRow(evil, evil, None, (evil,)), ProgramRow(evil, None, evil)),
            (CollectorRow(evil, False, evil),),
            (),
            (evil,),
        )
    )
    outline = Outline(page)
    assert "script" not in outline.tags
    assert outline.text.count("alert(") == 12


def test_not_ready_and_problems_are_said() -> None:
    status = STATUS._replace(not_ready="programs are loading", problems=("reload refused: x",))
    text = Outline(landing_page(status)).text
    assert "not ready: programs are loading" in text
    assert "Problems reload refused: x" in text
    assert "Problems" not in Outline(landing_page(STATUS)).text


def test_nothing_configured_is_said_too() -> None:
    text = Outline(landing_page(STATUS._replace(programs=(), collectors=()))).text
    assert "None configured ( ebpf.programs )." in text
    assert "None registered." in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
        (864_000, "10 d 0 h"),
    ],
)
def test_uptime_has_two_units(seconds: float, text: str) -> None:
    assert uptime_text(seconds) == text
