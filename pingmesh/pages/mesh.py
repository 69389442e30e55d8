"""The page /mesh: what stands out, the heat map, who is silent. Readable without JavaScript.

Takes a Reading, knows no sources.
"""

import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from exporter.pages.template import render
from pingmesh.mesh import Cell, Matrix
from pingmesh.mesh_reading import Reading
from pingmesh.topology import RackId

TEMPLATE = Path(__file__).with_name("mesh.html.j2")
MOST_RACKS = 60
"""More of them are shown zone by zone: a heat map of 200 × 200 is no page."""
MOST_SILENT = 50
TOP = "?"
"""The same page, asked for nothing in particular."""
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


class NoSuchPlace(KeyError):
    """A zone or rack was asked for that is none; its text is a line for a user."""


class Asking(NamedTuple):
    """The query. Empty texts where it says nothing."""

    zone: str | None = None
    to_zone: str | None = None
    rack: str | None = None
    to: str | None = None


def choose(reading: Reading, asking: Asking) -> tuple[Matrix, Sheet]:
    """What to show. Raises NoSuchPlace."""
    ids = {str(id_): id_ for id_ in sorted(reading.topology.racks)}
    if asking.rack is not None or asking.to is not None:
        source, target = _known(ids, asking.rack), _known(ids, asking.to)
        matrix = reading.nodes(source, target)
        up = ""
        if len(ids) > MOST_RACKS:
            up = "?" + urlencode({"zone": source.zone, "to_zone": target.zone})
        title = f"Nodes of {source} to nodes of {target}"
        return matrix, _sheet(title, matrix, None, up or TOP)
    if asking.zone is not None or asking.to_zone is not None:
        zones = {id_.zone for id_ in reading.topology.racks}
        for zone in (asking.zone, asking.to_zone):
            if zone not in zones:
                raise NoSuchPlace(f"no zone {zone!r} in the mesh")
        matrix = _part(reading, asking.zone or "", asking.to_zone or "")
        title = f"Racks of zone {asking.zone} to racks of zone {asking.to_zone}"
        return matrix, _sheet(title, matrix, "rack", TOP)
    if len(ids) > MOST_RACKS:
        return reading.racks, _sheet("Zone to zone", reading.zones, "zone", "")
    return reading.racks, _sheet("Rack to rack", reading.racks, "rack", "")


def mesh_page(
    reading: Reading | None,
    sheet: Sheet | None,
    stale: str | None,
    version: str,
    as_json: str = "/mesh.json",
) -> str:
    """The whole page as HTML; every value is escaped. `reading` None: there was none yet. `as_json`
    is where it is JSON."""
    silent = reading.silent if reading else ()
    return render(
        TEMPLATE,
        reading=reading,
        sheet=sheet,
        stale=stale,
        version=version,
        as_json=as_json,
        members=len(reading.topology) if reading else 0,
        racks=len(reading.topology.racks) if reading else 0,
        heard=len(reading.reports) if reading else 0,
        when=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(reading.at)) if reading else "",
        silent=silent[:MOST_SILENT],
        more_silent=len(silent) - MOST_SILENT,
        marks=MARKS,
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
        keys = ("zone", "to_zone") if further == "zone" else ("rack", "to")
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
