"""Agents' results as a matrix: which part of the mesh is well, slow, lossy, or not heard of.

The rule: pure, and no data is never green. A loss is a fact about a pair, red is a statement about
a cell: it takes two losses from two sources and a Wilson lower bound over the threshold, since one
loss in 60 probes is 1.7 %.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from pingmesh.controller_config import Level, Thresholds
from pingmesh.mesh import (
    NOTHING,
    Report,
    Row,
    Tally,
    level_of,
    merged,
    p99,
    shared,
    wilson_lower,
)
from pingmesh.topology import RackId, Topology

Colour = Literal["green", "yellow", "red", "none", "blank"]
"""none: should be probed, nothing is heard (white in the paper). blank: nothing to probe."""
WHOLE = slice(None)


class Cell(NamedTuple):
    """Between two racks, or two nodes. `p99` in milliseconds, None without answers. `sources`
    are how many agents lost something. `heard` of `pairs` have data."""

    sent: float
    lost: float
    sources: int
    p99: float | None
    pairs: int
    heard: int
    colour: Colour
    why: str

    @property
    def drop(self) -> float | None:
        return self.lost / self.sent if self.sent else None


class Matrix(NamedTuple):
    """`names` of sources in order, and of targets where those are others; `cells` by source."""

    names: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    targets: tuple[str, ...] = ()


def rack_matrix(
    topology: Topology, reports: Mapping[str, Report], thresholds: Thresholds
) -> Matrix:
    """Every rack × every rack, zone by zone."""
    ids = sorted(topology.racks)
    index = {id_: place for place, id_ in enumerate(ids)}

    def level(a: int, b: int) -> Level:
        return level_of(ids[a], ids[b], thresholds)

    return _matrix(topology, reports, tuple(map(str, ids)), index, level, thresholds.drop)


def zone_matrix(
    topology: Topology, reports: Mapping[str, Report], thresholds: Thresholds
) -> Matrix:
    """Every zone × every zone."""
    zones = sorted({id_.zone for id_ in topology.racks})
    index = {id_: zones.index(id_.zone) for id_ in topology.racks}

    def level(a: int, b: int) -> Level:
        return thresholds.zone if a == b else thresholds.between_zones

    return _matrix(topology, reports, tuple(zones), index, level, thresholds.drop)


def _matrix(
    topology: Topology,
    reports: Mapping[str, Report],
    names: tuple[str, ...],
    index: Mapping[RackId, int],
    level: Callable[[int, int], Level],
    drop: float,
) -> Matrix:
    expected: dict[tuple[int, int], int] = {}
    heard: dict[tuple[int, int], int] = {}
    found: dict[tuple[int, int], dict[str, list[Tally]]] = {}
    for name in topology.names:
        report = reports.get(name)
        own = index[topology.member(name).rack_id]
        for tie in topology.ties(name):
            key = (own, index[tie.rack])
            expected[key] = expected.get(key, 0) + len(tie.members)
            tally = report.racks.get(tie.rack) if report else None
            if tally is not None and tally.sent:
                heard[key] = heard.get(key, 0) + len(tie.members)
                found.setdefault(key, {}).setdefault(name, []).append(tally)
    every = range(len(names))
    return Matrix(
        names,
        tuple(
            tuple(
                _cell(
                    [merged(each) for each in found.get((a, b), {}).values()],
                    expected.get((a, b), 0),
                    heard.get((a, b), 0),
                    level(a, b),
                    drop,
                    need=2,
                )
                for b in every
            )
            for a in every
        ),
    )


def node_matrix(
    topology: Topology,
    reports: Mapping[str, Report],
    addresses: Mapping[str, str],
    thresholds: Thresholds,
    sources: RackId,
    targets: RackId,
    down: slice = WHOLE,
    across: slice = WHOLE,
) -> Matrix:
    """The nodes of one rack × those of another (or the same): these of the sources, `across` of the
    targets. A cell has one source, so here two losses from that one may be red. Latency within a
    rack is that of all its pairs. Raises KeyError for a rack that is none."""
    sending = topology.racks[sources].members[down]
    probed_ones = topology.racks[targets].members[across]
    level = level_of(sources, targets, thresholds)
    cells = []
    for source in sending:
        report = reports.get(source.name)
        tie = next((t for t in topology.ties(source.name) if t.rack == targets), None)
        probed = {m.name for m in tie.members} if tie else set()
        tally = report.racks.get(targets, NOTHING) if report else NOTHING
        estimated: dict[str, Row] = {}
        if tie and report and tally.sent:
            estimated = {
                row.target.name: row
                for row in shared(source, tie, tally, 0.0, report, addresses, {})
            }
        line = []
        for target in probed_ones:
            row = estimated.get(target.name)
            one = Tally(row.sent, row.lost, tally.slow) if row else NOTHING
            if row and row.lost >= row.sent:
                one = one._replace(slow=())
            line.append(
                _cell(
                    (one,) if row else (),
                    int(target.name in probed),
                    int(row is not None),
                    level,
                    thresholds.drop,
                    need=1,
                )
            )
        cells.append(tuple(line))
    names = tuple(m.name for m in sending)
    return Matrix(names, tuple(cells), tuple(m.name for m in probed_ones))


def _cell(
    tallies: Sequence[Tally], pairs: int, heard: int, level: Level, drop: float, need: int
) -> Cell:
    whole = merged(tallies)
    sources = sum(tally.lost > 0 for tally in tallies)
    slowest = p99(whole)
    colour, why = _colour(whole, sources, slowest, pairs, level, drop, need)
    return Cell(whole.sent, whole.lost, sources, slowest, pairs, heard, colour, why)


def _colour(
    whole: Tally,
    sources: int,
    slowest: float | None,
    pairs: int,
    level: Level,
    drop: float,
    need: int,
) -> tuple[Colour, str]:
    if not pairs:
        return "blank", "nothing to probe"
    if not whole.sent:
        return "none", "no data"
    lossy = whole.lost >= 2 and wilson_lower(whole.lost, whole.sent) > drop
    lost = f"{whole.lost:.0f} of {whole.sent:.0f} probes lost"
    if lossy and sources >= need:
        return "red", lost
    if slowest is not None and slowest > level.red:
        return "red", f"P99 {slowest:.2f} ms, over {level.red:g} ms"
    if lossy or slowest is None:
        return "yellow", f"{lost}, by one source"
    if slowest >= level.yellow:
        return "yellow", f"P99 {slowest:.2f} ms, from {level.yellow:g} ms on"
    return "green", f"P99 {slowest:.2f} ms"
