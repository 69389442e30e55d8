"""The page of one probe: each phase with its share of the time, or why there was no answer.

Takes a Report; knows neither sockets nor guards.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from exporter.pages.section import Cell, Row, Section, share
from exporter.pages.template import render
from pingmesh.pinglist import Target
from pingmesh.probe import Outcome

TEMPLATE = Path(__file__).with_name("probe.html.j2")


class Report(NamedTuple):
    """What became of one target. `rtts` in the order of sending, NaN for a packet that was lost;
    `reason` "" where it answered."""

    target: Target
    address: str
    rtts: tuple[float, ...]
    reason: str
    outcome: Outcome
    seconds: float


class Refusal(NamedTuple):
    """Why nothing was probed, and the HTTP status that says so."""

    text: str
    status: int = 403


class Asked(NamedTuple):
    """What the form holds. `modules` empty: nothing may be probed, and there is no form."""

    target: str
    module: str
    modules: tuple[str, ...]


def probe_page(asked: Asked, found: Report | Refusal) -> str:
    """The whole page as HTML; every value is escaped."""
    report = found if isinstance(found, Report) else None
    refusal = "" if report else found.text  # type: ignore[union-attr] # one or the other
    if not asked.target and asked.modules:
        refusal = ""  # who came for the form
    return render(
        TEMPLATE,
        target=asked.target,
        module=asked.module,
        modules=asked.modules,
        refusal=refusal,
        report=report,
        verdict=_verdict(report) if report else "",
        sections=list(_sections(report)) if report else [],
    )


def wants_html(accepts: Iterable[str]) -> bool:
    """Whether the client names text/html and would rather have it than plain text. Browsers do;
    Prometheus and curl (*/*) do not (RFC 9110, 12.5.1)."""
    weights: dict[str, float] = {}
    for each in ",".join(accepts).split(","):
        kind, *parameters = (part.strip().lower() for part in each.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            weights[kind] = float(quality)
        except ValueError:
            weights[kind] = 0.0
    html = weights.get("text/html", 0.0)
    return html > 0 and html >= weights.get("text/plain", 0.0)


def _verdict(report: Report) -> str:
    if report.reason:
        hop = f", says {report.outcome.hop}" if report.outcome.hop else ""
        return f"Failed: {report.reason}{hop}"
    assert report.outcome.rtt is not None
    return f"Answered in {_ms(report.outcome.rtt)}"


def _sections(report: Report) -> Iterable[Section]:
    phases = report.outcome.phases
    whole = sum(phases.values())
    if phases:
        yield Section(
            "phases",
            "Phases",
            ("Phase", "Time", "Share"),
            tuple(
                (name, _ms(seconds), share(seconds / whole if whole else None))
                for name, seconds in phases.items()
            ),
        )
    if report.target.kind in ("icmp", "udp"):
        yield Section("packets", "Packets", ("Packet", "Round trip"), tuple(_packets(report)))
    numbers = report.outcome.numbers
    if numbers:
        rows: tuple[Row, ...] = tuple((name, f"{value:g}") for name, value in numbers.items())
        yield Section("numbers", "Found out besides", ("What", "Value"), rows)


def _packets(report: Report) -> Iterable[Row]:
    for place, rtt in enumerate(report.rtts, 1):
        yield str(place), Cell("lost", "off") if math.isnan(rtt) else _ms(rtt)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3f} ms"
