"""The page of one pair of nodes, both directions: numbers, verdict, and the losses of the past.

Takes a Reading and what is known of the past; knows no sources.
"""

import time
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from exporter.pages.section import UNKNOWN, Cell, Mood, Row, Section, share
from exporter.pages.template import render
from pingmesh.mesh import NOTHING
from pingmesh.mesh_past import Moment
from pingmesh.mesh_reading import Reading
from pingmesh.patterns import Fault
from pingmesh.topology import Member

TEMPLATE = Path(__file__).with_name("pair.html.j2")
MOST_MOMENTS = 20
WORDS = {
    "green": "well",
    "yellow": "slow or lossy",
    "red": "too slow or lossy",
    "none": "no data",
    "blank": "not probed",
}
_MOODS: dict[str, Mood] = {"green": "on", "yellow": "off", "red": "off"}
_HEIGHTS = {"lost": 24, "no loss": 4}

History = Callable[[str, str], Sequence[Moment]]
"""Source, target → its moments, the oldest first."""


class Direction(NamedTuple):
    """`strip` is a picture of the past as HTML."""

    title: str
    strip: str
    losses: Section


def pair_page(reading: Reading, source: str, target: str, history: History, path: str) -> str:
    """The whole page as HTML; every value is escaped. `path` is the mesh's page. Raises KeyError
    for a node that is none."""
    from markupsafe import Markup  # jinja2's own

    a, b = reading.topology.member(source), reading.topology.member(target)
    ways = [(a, b)] if source == target else [(a, b), (b, a)]
    directions: list[Direction] = []
    for one, other in ways:
        moments = history(one.name, other.name)
        if any(moment.state != "unknown" for moment in moments):
            title = f"{one.name} → {other.name}"
            strip = Markup(picture(moments, title))  # noqa: S704 # it escapes what it is given
            directions.append(Direction(title, strip, _losses(len(directions), title, moments)))
    racks = urlencode({"rack": str(a.rack_id), "to": str(b.rack_id)})
    return render(
        TEMPLATE,
        a=a,
        b=b,
        numbers=_numbers(reading, ways),
        directions=directions,
        faults=[fault for fault in reading.faults if _about(fault, a, b)],
        when=_time(reading.at, "%Y-%m-%d %H:%M:%S UTC"),
        window=reading.window / 60,
        up=f"{path}?{racks}",
        path=path,
    )


def _numbers(reading: Reading, ways: Sequence[tuple[Member, Member]]) -> Section:
    rows = tuple(_direction(reading, one, other) for one, other in ways)
    columns = ("Direction", "State", "Why", "Probes", "Lost", "P99", "Failed rounds", "Just now")
    note = (
        "Agents report by rack: where one probes several nodes of a rack, losses are shared out by "
        "which failed, and P99 is that of all of them."
    )
    return Section("numbers", "Now", columns, rows, note=note)


def _direction(reading: Reading, one: Member, other: Member) -> Row:
    cell, report = reading.pair(one, other), reading.reports.get(one.name)
    title = f"{one.name} → {other.name}"
    state = Cell(WORDS[cell.colour], _MOODS.get(cell.colour, "soft"))
    if not cell.pairs or report is None or not cell.sent:
        return (title, state, cell.why, *(UNKNOWN,) * 5)
    failed = report.failing.get(reading.addresses[other.name], 0)
    recent = report.recent.get(other.rack_id, NOTHING)
    return (
        title,
        state,
        cell.why,
        f"{cell.sent:,.0f}",
        f"{cell.lost:,.0f} ({share(cell.drop)})",
        UNKNOWN if cell.p99 is None else f"{cell.p99:.2f} ms",
        f"{failed} of {report.rounds}" if report.rounds else UNKNOWN,
        f"{share(recent.lost / recent.sent)} lost in the rack" if recent.sent else UNKNOWN,
    )


def _losses(number: int, title: str, moments: Sequence[Moment]) -> Section:
    lost = [moment for moment in reversed(moments) if moment.state == "lost"]
    more = len(lost) - MOST_MOMENTS
    return Section(
        f"losses-{number}",
        f"Readings with losses, {title}",
        ("Read at (UTC)", "Lost", "Probes"),
        tuple(
            (_time(each.at, "%H:%M:%S"), share(each.lost / each.sent), f"{each.sent:.0f}")
            for each in lost[:MOST_MOMENTS]
        ),
        empty="None.",
        note=f"The last {MOST_MOMENTS}; {more} more before them." if more > 0 else "",
    )


def picture(moments: Sequence[Moment], title: str) -> str:
    """One bar per reading, high where something was lost, low where nothing was, none where that is
    not known; an inline SVG with a text that says the same."""
    counts = {state: sum(m.state == state for m in moments) for state in ("lost", "no loss")}
    since = _time(moments[0].at, "%H:%M")
    text = (
        f"{title}, {len(moments)} readings since {since} UTC: losses in {counts['lost']}, none in "
        f"{counts['no loss']}, unknown {len(moments) - sum(counts.values())}"
    )
    bars = "".join(
        f'<rect class="{"bad" if each.state == "lost" else "fine"}" x="{place * 5}" '
        f'y="{26 - _HEIGHTS[each.state]}" width="4" height="{_HEIGHTS[each.state]}"/>'
        for place, each in enumerate(moments)
        if each.state in _HEIGHTS
    )
    width = max(len(moments) * 5, 5)
    return (
        f'<svg class="strip" role="img" viewBox="0 0 {width} 26" width="{width}" height="26" '
        f'aria-label="{escape(text)}"><title>{escape(text)}</title>{bars}</svg>'
        f'<p class="soft">{escape(text)}.</p>'
    )


def _about(fault: Fault, a: Member, b: Member) -> bool:
    names = {each for member in (a, b) for each in (member.name, str(member.rack_id), member.zone)}
    return not names.isdisjoint(fault.members) or not fault.members


def _time(at: float, form: str) -> str:
    return time.strftime(form, time.gmtime(at))
