"""One frame of `kernmesh top`: what an agent says of itself, for a terminal of 80 columns or more.

Takes plain values; asks nobody. The only module that draws with rich.
"""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from exporter.pages.landing import scale, uptime_text
from exporter.pages.section import UNKNOWN, Points, per_second, share
from exporter.pages.sparkline import number
from exporter.pages.status_json import ProgramJson, SectionJson, StatusJson, UsageJson
from exporter.terminal.asking import Seen

MOST_PROBLEMS = 5
BAR, LINE = 14, 20
HOUR = "last hour"
_STYLES = {"on": "green", "off": "red", "soft": "dim", "": ""}
_BLOCKS = "▁▂▃▄▅▆▇█"


def frame(seen: Seen, most_programs: int | None = None) -> RenderableType:
    """`most_programs` None: all of them."""
    status = seen.status
    return Group(
        *_head(status),
        *(_section(each) for each in status.sections if each.urgent),
        _usage(status.usage),
        _programs(seen, most_programs),
        *(_section(each) for each in status.sections if not each.urgent),
    )


def away(problem: str, interval: float) -> RenderableType:
    return Group(
        Text("The agent does not answer.", style="bold red"),
        Text(problem),
        Text(f"Asked again every {interval:g} s; Ctrl-C ends.", style="dim"),
    )


def _head(status: StatusJson) -> Iterator[RenderableType]:
    line = Text.assemble(
        (f"kernmesh {status.version}", "bold"),
        f" on {status.node}, up {uptime_text(status.uptime_seconds)}, ",
        ("ready", "green")
        if status.not_ready is None
        else (f"NOT READY: {status.not_ready}", "red"),
    )
    yield line
    for problem in status.problems[:MOST_PROBLEMS]:
        yield Text(f"! {problem}", style="red")
    if len(status.problems) > MOST_PROBLEMS:
        yield Text(f"! and {len(status.problems) - MOST_PROBLEMS} more", style="red")
    bad = [each for each in status.collectors if each.ok is False]
    for each in bad[:MOST_PROBLEMS]:
        yield Text(f"! collector {each.name}: {each.detail}", style="red")


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, expand=True
    )
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    return table


def _usage(usage: Sequence[UsageJson]) -> RenderableType:
    table = Table(title="Usage", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("now", header_style="dim", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(HOUR, header_style="dim", no_wrap=True)
    for each in usage:
        now = UNKNOWN if each.now is None else f"{number(each.now)} %"
        table.add_row(each.name, now, bar(each.now), blocks(each.spans.get(HOUR, ())))
    return table


def bar(value: float | None) -> str:
    """Percent; nothing where it is unknown, which is not what 0 looks like."""
    if value is None:
        return ""
    full = round(min(max(value, 0.0), 100.0) / 100 * BAR)
    return "█" * full + "░" * (BAR - full)


def blocks(points: Points, width: int = LINE) -> str:
    """`width` characters; a blank is a gap. Each is the mean of what it stands for."""
    top = scale(points)
    out = []
    for place in range(width):
        part = points[place * len(points) // width : (place + 1) * len(points) // width]
        known = [value for value in part if value is not None]
        if not known:
            out.append(" ")
            continue
        height = min(max(sum(known) / len(known) / top, 0.0), 1.0)
        out.append(_BLOCKS[min(int(height * len(_BLOCKS)), len(_BLOCKS) - 1)])
    return "".join(out)


def _programs(seen: Seen, most: int | None) -> RenderableType:
    programs = sorted(
        seen.status.programs,
        key=lambda each: (each.hook is None, -seen.events.get(each.name, -1.0), each.name),
    )
    running = sum(each.hook is not None for each in programs)
    table = _table(f"Programs: {running} of {len(programs)} running")
    table.add_column("", no_wrap=True)
    table.add_column("events", header_style="dim", justify="right", no_wrap=True)
    table.add_column("cost", header_style="dim", justify="right", no_wrap=True)
    table.add_column(
        "hook, or why not", header_style="dim", no_wrap=True, overflow="ellipsis", ratio=1
    )
    for each in programs[:most]:
        table.add_row(*_program(each, seen))
    if most is not None and len(programs) > most:
        table.add_row(Text(f"and {len(programs) - most} more", style="dim"))
    return table


def _program(program: ProgramJson, seen: Seen) -> tuple[RenderableType, ...]:
    if program.hook is None:
        return Text(program.name, style="red"), "off", "", program.reason or "no reason known"
    rate = per_second(seen.events.get(program.name))
    return program.name, rate, share(program.cost), Text(program.hook, style="dim")


def _section(section: SectionJson) -> RenderableType:
    table = _table(section.title, *section.columns)
    for row in section.rows:
        table.add_row(*(Text(cell.text, style=_STYLES[cell.mood]) for cell in row))
    parts: list[RenderableType] = [table]
    if not section.rows:
        parts = [Text(section.title, style="bold"), Text(section.empty, style="dim")]
    if section.note:
        parts.append(Text(section.note, style="dim"))
    return Group(*parts)
