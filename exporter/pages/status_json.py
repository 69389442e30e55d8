"""GET /status.json: what the page `/` shows, as JSON with a schema; `kernmesh top` reads it.

Knows only the values that the page is made of.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from exporter.pages.landing import Status
from exporter.pages.section import Chart, cell


class ProgramJson(Struct, frozen=True):
    """`hook` null: it does not run, and `reason` says why. `events_per_second` is null before the
    second scrape, `cost` (seconds of CPU per second) while the kernel does not count it."""

    name: str
    hook: str | None
    reason: str | None
    notes: tuple[str, ...]
    events_per_second: float | None
    cost: float | None


class CollectorJson(Struct, frozen=True):
    name: str
    ok: bool | None
    detail: str


class CellJson(Struct, frozen=True):
    text: str
    mood: Literal["", "on", "off", "soft"]


class SectionJson(Struct, frozen=True):
    """A table: each row has as many cells as `columns`; `empty` is to be said where it has none.
    `urgent` goes above what is only good to know."""

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[CellJson, ...], ...]
    empty: str
    path: str | None
    urgent: bool = False


class UsageJson(Struct, frozen=True):
    """Percent; null where it is unknown. Points are at equal distances, the newest last."""

    name: str
    now: float | None
    spans: dict[str, tuple[float | None, ...]]


class StatusJson(Struct, frozen=True):
    """`not_ready` null: ready."""

    version: str
    node: str
    uptime_seconds: float
    not_ready: str | None
    problems: tuple[str, ...]
    sections: tuple[SectionJson, ...]
    usage: tuple[UsageJson, ...]
    programs: tuple[ProgramJson, ...]
    collectors: tuple[CollectorJson, ...]


def status_json(status: Status, charts: Sequence[Chart]) -> bytes:
    return msgspec.json.encode(as_struct(status, charts))


def as_struct(status: Status, charts: Sequence[Chart]) -> StatusJson:
    return StatusJson(
        status.version,
        status.node,
        round(status.uptime_seconds, 3),
        status.not_ready,
        status.problems,
        tuple(
            SectionJson(
                each.name,
                each.title,
                each.note,
                each.columns,
                tuple(tuple(CellJson(*cell(value)) for value in row) for row in each.rows),
                each.empty,
                each.link.path if each.link else None,
                each.urgent,
            )
            for each in status.sections
        ),
        tuple(
            UsageJson(
                each.name,
                _short(each.now),
                {span: tuple(map(_short, points)) for span, points in each.spans.items()},
            )
            for each in charts
        ),
        tuple(
            ProgramJson(
                *(row.name, row.hook, row.reason, row.notes),
                events_per_second=_short(row.events),
                cost=row.cost,
            )
            for row in status.programs
        ),
        tuple(CollectorJson(row.name, row.ok, row.detail) for row in status.collectors),
    )


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
