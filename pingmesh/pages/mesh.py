"""The page /mesh: what stands out, the heat map, who is silent. Readable without JavaScript.

Takes a Reading, knows no sources.
"""

import time
from collections.abc import Sequence
from heapq import nlargest
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from exporter.pages.section import Link
from exporter.pages.template import render
from pingmesh.mesh_matrix import Cell, Matrix
from pingmesh.mesh_reading import Reading
from pingmesh.pages.pair import WORDS
from pingmesh.topology import RackId

TEMPLATE = Path(__file__).with_name("mesh.html.j2")
MOST = 60
"""Of rows and columns: a heat map of 200 × 200 is no page. What is more is a page further."""
MOST_RACKS = MOST
"""More of them are shown zone by zone."""
MOST_WORST = 10
MOST_SILENT = 50
TOP = "?"
"""The same page, asked for nothing in particular."""
FURTHER = {"zone": ("zone", "to_zone"), "rack": ("rack", "to"), "node": ("node", "peer")}
"""What a cell of a heat map of these leads to, as the keys of its query."""
MARKS = {"green": "", "yellow": "▲", "red": "■", "none": "?", "blank": ""}


class Shown(NamedTuple):
    """One cell. `href` leads further in, "" where there is nothing further."""

    colour: str
    mark: str
    p99: str
    drop: str
    title: str
    href: str


class Sheet(NamedTuple):
    """One heat map. `up` leads back out, "" at the top."""

    title: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    lines: tuple[tuple[Shown, ...], ...]
    up: str = ""
    turns: tuple[Link, ...] = ()
    """To the rows and columns that are not shown."""


class NoSuchPlace(KeyError):
    """A zone or rack was asked for that is none; its text is a line for a user."""


class Asking(NamedTuple):
    """The query. Empty texts where it says nothing."""

    zone: str | None = None
    to_zone: str | None = None
    rack: str | None = None
    to: str | None = None
    node: str | None = None
    peer: str | None = None
    row: str | None = None
    column: str | None = None

    def within(self, sources: int, targets: int) -> tuple[int, int]:
        """The first source and target that are shown, of so many. Raises NoSuchPlace."""
        return _number("row", self.row, sources), _number("column", self.column, targets)


def _number(name: str, text: str | None, count: int) -> int:
    if text is None:
        return 0
    if not (text.isdecimal() and len(text) < 8 and int(text) < count):
        raise NoSuchPlace(f"{name}: got {text!r}, want a number under {count}")
    return int(text)


def choose(reading: Reading, asking: Asking) -> tuple[Matrix, Sheet]:
    """What to show. Raises NoSuchPlace."""
    ids = {str(id_): id_ for id_ in sorted(reading.topology.racks)}
    if asking.rack is not None or asking.to is not None:
        source, target = _known(ids, asking.rack), _known(ids, asking.to)
        racks = reading.topology.racks
        counts = len(racks[source].members), len(racks[target].members)
        row, column = asking.within(*counts)
        down, across = slice(row, row + MOST), slice(column, column + MOST)
        matrix = reading.nodes(source, target, down, across)
        up = ""
        if len(ids) > MOST_RACKS:
            up = "?" + urlencode({"zone": source.zone, "to_zone": target.zone})
        title = f"Nodes of {source} to nodes of {target}"
        sheet = _sheet(title, matrix, "node", up or TOP)
        return matrix, sheet._replace(turns=_turns(asking, *counts))
    if asking.zone is not None or asking.to_zone is not None:
        zones = {id_.zone for id_ in reading.topology.racks}
        for zone in (asking.zone, asking.to_zone):
            if zone not in zones:
                raise NoSuchPlace(f"no zone {zone!r} in the mesh")
        matrix = _part(reading, asking.zone or "", asking.to_zone or "")
        title = f"Racks of zone {asking.zone} to racks of zone {asking.to_zone}"
        return matrix, _cut(title, matrix, "rack", asking, TOP)
    if len(ids) > MOST_RACKS:
        return reading.racks, _cut("Zone to zone", reading.zones, "zone", asking)
    return reading.racks, _sheet("Rack to rack", reading.racks, "rack", "")


def mesh_page(
    reading: Reading | None,
    sheet: Sheet | None,
    stale: str | None,
    version: str,
    as_json: str = "/mesh.json",
    others: Sequence[Link] = (),
) -> str:
    """The whole page as HTML; every value is escaped. `reading` None: there was none yet. `as_json`
    is where it is JSON, `others` lead to other networks' meshes."""
    silent = reading.silent if reading else ()
    return render(
        TEMPLATE,
        reading=reading,
        sheet=sheet,
        stale=stale,
        version=version,
        as_json=as_json,
        others=others,
        members=len(reading.topology) if reading else 0,
        racks=len(reading.topology.racks) if reading else 0,
        heard=len(reading.reports) if reading else 0,
        when=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(reading.at)) if reading else "",
        silent=silent[:MOST_SILENT],
        more_silent=len(silent) - MOST_SILENT,
        marks=MARKS,
        words=WORDS,
        worst=worst(reading) if reading else (),
    )


def _known(ids: dict[str, RackId], text: str | None) -> RackId:
    if text not in ids:
        raise NoSuchPlace(f"no rack {text!r} in the mesh")
    return ids[text]


def _part(reading: Reading, source: str, target: str) -> Matrix:
    ids = sorted(reading.topology.racks)
    down = [index for index, id_ in enumerate(ids) if id_.zone == source]
    across = [index for index, id_ in enumerate(ids) if id_.zone == target]
    whole = reading.racks
    return Matrix(
        tuple(whole.names[index] for index in down),
        tuple(tuple(whole.cells[a][b] for b in across) for a in down),
        tuple(whole.names[index] for index in across),
    )


def _cut(title: str, matrix: Matrix, further: str, asking: Asking, up: str = "") -> Sheet:
    """As much of it as a page holds."""
    targets = matrix.targets or matrix.names
    row, column = asking.within(len(matrix.names), len(targets))
    part = Matrix(
        matrix.names[row : row + MOST],
        tuple(line[column : column + MOST] for line in matrix.cells[row : row + MOST]),
        targets[column : column + MOST],
    )
    turns = _turns(asking, len(matrix.names), len(targets))
    return _sheet(title, part, further, up)._replace(turns=turns)


def _turns(asking: Asking, sources: int, targets: int) -> tuple[Link, ...]:
    row, column = asking.within(sources, targets)
    steps = (
        ("sources", row - MOST, column, sources),
        ("sources", row + MOST, column, sources),
        ("targets", row, column - MOST, targets),
        ("targets", row, column + MOST, targets),
    )
    found = []
    for what, to_row, to_column, count in steps:
        first = to_row if what == "sources" else to_column
        if first >= count or first <= -MOST:
            continue
        place = {"row": str(max(to_row, 0)), "column": str(max(to_column, 0))}
        query = {name: value for name, value in asking._asdict().items() if value is not None}
        first = max(first, 0)
        text = f"{what} {first + 1} to {min(first + MOST, count)} of {count}"
        found.append(Link("?" + urlencode({**query, **place}), text))
    return tuple(found)


def worst(reading: Reading) -> tuple[tuple[str, str, str], ...]:
    """The worst pairs of racks: link, their names, why. Those that are red before yellow ones."""
    names = reading.racks.names
    bad = (
        (cell, source, target)
        for source, line in zip(names, reading.racks.cells, strict=True)
        for target, cell in zip(names, line, strict=True)
        if cell.colour in ("red", "yellow")
    )
    found = nlargest(
        MOST_WORST, bad, key=lambda each: (each[0].colour == "red", each[0].drop or 0.0)
    )
    return tuple(
        ("?" + urlencode({"rack": source, "to": target}), f"{source} → {target}", cell.why)
        for cell, source, target in found
    )


def _sheet(title: str, matrix: Matrix, further: str | None, up: str) -> Sheet:
    targets = matrix.targets or matrix.names
    return Sheet(
        title,
        matrix.names,
        targets,
        tuple(
            tuple(
                _shown(source, target, cell, further)
                for target, cell in zip(targets, line, strict=True)
            )
            for source, line in zip(matrix.names, matrix.cells, strict=True)
        ),
        up,
    )


def _shown(source: str, target: str, cell: Cell, further: str | None) -> Shown:
    href = ""
    if further and cell.pairs:
        keys = FURTHER[further]
        href = "?" + urlencode(dict(zip(keys, (source, target), strict=True)))
    drop = ""
    if cell.drop:
        drop = f"{cell.drop:.0%}" if cell.drop >= 0.1 else f"{cell.drop:.2%}"
    title = f"{source} → {target}: {cell.why}"
    if cell.sent:
        title += f"; {cell.sent:.0f} probes, {cell.lost:.0f} lost, {cell.heard}/{cell.pairs} pairs"
    return Shown(cell.colour, MARKS[cell.colour], _ms(cell.p99), drop, title, href)


def _ms(p99: float | None) -> str:
    if p99 is None:
        return ""
    return f"{p99:.0f}" if p99 >= 10 else f"{p99:.1f}" if p99 >= 1 else f"{p99:.2f}"
