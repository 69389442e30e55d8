"""The landing page `/`: what stands out, usage, what is on, what is not and why, and where
everything else is.

Takes plain values, knows neither programs nor collectors.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.pages.section import UNKNOWN, Chart, Link, Points, Section, per_second, share
from exporter.pages.sparkline import described, number, sparkline
from exporter.pages.template import render

TEMPLATE = Path(__file__).with_name("landing.html.j2")
SCALES = (1.0, 5.0, 10.0, 25.0, 50.0, 100.0)


class ProgramRow(NamedTuple):
    """`hook` is what the program is attached to, None where it does not run; `reason` then
    says why, in one line. A program that runs may have `notes`: parts that it does without; its
    events per second, and the CPU seconds per second that it costs, are None where unknown."""

    name: str
    hook: str | None
    reason: str | None = None
    notes: tuple[str, ...] = ()
    events: float | None = None
    cost: float | None = None


class CollectorRow(NamedTuple):
    """`ok` is the outcome of the last collect, None before the first; `detail` is one line."""

    name: str
    ok: bool | None
    detail: str = ""

    @property
    def quiet(self) -> bool:
        """Good, and nothing to say of it."""
        return self.ok is True and not self.detail


class Status(NamedTuple):
    """`uptime_seconds` since the agent started. `not_ready` is the reason, None when ready.
    `problems` are lines that a user should act on (a reload that was refused, say). `sections` are
    what the agent's parts show of themselves; `modules` are /probe's, empty where it is off."""

    version: str
    node: str
    uptime_seconds: float
    not_ready: str | None
    programs: tuple[ProgramRow, ...]
    collectors: tuple[CollectorRow, ...]
    links: tuple[Link, ...]
    problems: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    modules: tuple[str, ...] = ()


DEFAULT_LINKS = (
    Link("/metrics", "metrics for Prometheus"),
    Link("/statistics", "node usage as JSON"),
    Link("/interference", "who is hurt by whom"),
    Link("/status.json", "this page as JSON"),
    Link("/-/healthy", "alive?"),
    Link("/-/ready", "ready?"),
)


class Drawn(NamedTuple):
    """A chart as HTML: `lines` by what they span, "" where nothing is known. `scale` says what its
    upper edge is, "" where there is no line."""

    name: str
    now: str
    scale: str
    lines: tuple[tuple[str, str], ...]


def landing_page(status: Status, charts: Sequence[Chart] = ()) -> str:
    """The whole page as HTML; every value is escaped."""
    return render(
        TEMPLATE,
        status=status,
        modules=status.modules,
        charts=[_drawn(chart) for chart in charts],
        uptime=uptime_text(status.uptime_seconds),
        running=sum(row.hook is not None for row in status.programs),
        costs=any(row.cost is not None for row in status.programs),
        per_second=per_second,
        share=share,
    )


def _drawn(chart: Chart) -> Drawn:
    from markupsafe import Markup  # jinja2's own

    top = scale(*chart.spans.values())
    lines = []
    for span, points in chart.spans.items():
        known = any(point is not None for point in points)
        line = sparkline(points, top, described(points, chart.name, span, "%")) if known else ""
        lines.append((span, Markup(line)))  # noqa: S704 # it escapes what it is given
    now = UNKNOWN if chart.now is None else f"{number(chart.now)} %"
    edge = f"0 to {top:g} %" if any(line for _, line in lines) else ""
    return Drawn(chart.name, now, edge, tuple(lines))


def scale(*lines: Points) -> float:
    """Percent at the upper edge, the same for all lines: the least step that holds them."""
    highest = max((value for points in lines for value in points if value is not None), default=0)
    return next((step for step in SCALES if highest <= step), SCALES[-1])


def uptime_text(seconds: float) -> str:
    """The two largest units: "3 d 4 h", "5 min 2 s", "0 s"."""
    rest = int(max(seconds, 0))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
