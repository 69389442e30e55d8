"""The landing page `/`: what is on, what is not and why, and where everything else is.

Takes plain values, knows neither programs nor collectors.
"""

from pathlib import Path
from typing import NamedTuple

from exporter.pages.template import render

TEMPLATE = Path(__file__).with_name("landing.html.j2")


class ProgramRow(NamedTuple):
    """`hook` is what the program is attached to, None where it does not run; `reason` then
    says why, in one line. A program that runs may have `notes`: parts that it does without."""

    name: str
    hook: str | None
    reason: str | None = None
    notes: tuple[str, ...] = ()


class CollectorRow(NamedTuple):
    """`ok` is the outcome of the last collect, None before the first; `detail` is one line."""

    name: str
    ok: bool | None
    detail: str = ""


class Link(NamedTuple):
    path: str
    text: str


class Status(NamedTuple):
    """`uptime_seconds` since the agent started. `not_ready` is the reason, None when ready.
    `problems` are lines that a user should act on (a reload that was refused, say)."""

    version: str
    node: str
    uptime_seconds: float
    not_ready: str | None
    programs: tuple[ProgramRow, ...]
    collectors: tuple[CollectorRow, ...]
    links: tuple[Link, ...]
    problems: tuple[str, ...] = ()


DEFAULT_LINKS = (
    Link("/metrics", "metrics for Prometheus"),
    Link("/statistics", "node usage as JSON"),
    Link("/-/healthy", "alive?"),
    Link("/-/ready", "ready?"),
)


def landing_page(status: Status) -> str:
    """The whole page as HTML; every value is escaped."""
    return render(
        TEMPLATE,
        status=status,
        uptime=uptime_text(status.uptime_seconds),
        running=sum(row.hook is not None for row in status.programs),
    )


def uptime_text(seconds: float) -> str:
    """The two largest units: "3 d 4 h", "5 min 2 s", "0 s"."""
    rest = int(max(seconds, 0))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
