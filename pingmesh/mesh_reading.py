"""One reading of the mesh: matrices, faults, who is silent; and the same as JSON with a schema.

Pure: what is on the page is in the JSON, and nothing is worked out twice.
"""

from collections.abc import Mapping
from heapq import nlargest
from typing import Literal, NamedTuple

from msgspec import Struct

from pingmesh.controller_config import Thresholds
from pingmesh.mesh import Report, Row, rows
from pingmesh.mesh_matrix import WHOLE, Cell, Matrix, node_matrix, rack_matrix, zone_matrix
from pingmesh.patterns import Fault, Votes, faults, slow_faults, votes
from pingmesh.topology import Member, RackId, Topology

MOST_LOSSY = 2000


class Reading(NamedTuple):
    """`at` on the wall clock, `window` in seconds. `problem`: why there are no results, None where
    there are. `silent` agents are members that are not heard of."""

    at: float
    window: float
    origin: str
    problem: str | None
    topology: Topology
    addresses: Mapping[str, str]
    thresholds: Thresholds
    reports: Mapping[str, Report]
    zones: Matrix
    racks: Matrix
    faults: tuple[Fault, ...]
    votes: tuple[Votes, ...]
    silent: tuple[str, ...]
    lossy: tuple[Row, ...] = ()
    """Pairs that lost something lately, the worst MOST_LOSSY of them."""

    def nodes(
        self, sources: RackId, targets: RackId, down: slice = WHOLE, across: slice = WHOLE
    ) -> Matrix:
        """Raises KeyError for a rack that is none."""
        known = self.topology, self.reports, self.addresses, self.thresholds
        return node_matrix(*known, sources, targets, down, across)

    def pair(self, source: Member, target: Member) -> Cell:
        """Directed."""
        down = self.topology.racks[source.rack_id].members.index(source)
        across = self.topology.racks[target.rack_id].members.index(target)
        found = self.nodes(
            source.rack_id, target.rack_id, slice(down, down + 1), slice(across, across + 1)
        )
        return found.cells[0][0]


def make_reading(
    *,
    at: float,
    window: float,
    origin: str,
    problem: str | None,
    topology: Topology,
    addresses: Mapping[str, str],
    thresholds: Thresholds,
    reports: Mapping[str, Report],
) -> Reading:
    silent = tuple(sorted(name for name in topology.names if name not in reports))
    found = list(rows(topology, reports, addresses, thresholds))
    lossy = faults(found, frozenset(silent), thresholds.drop)
    return Reading(
        at,
        window,
        origin,
        problem,
        topology,
        addresses,
        thresholds,
        reports,
        zone_matrix(topology, reports, thresholds),
        rack_matrix(topology, reports, thresholds),
        (*lossy, *slow_faults(found, lossy)),
        tuple(votes(found)),
        silent,
        tuple(
            nlargest(
                MOST_LOSSY,
                (row for row in found if row.recent_lost > 0),
                key=lambda row: row.recent_lost,
            )
        ),
    )


class CellJson(Struct, frozen=True):
    """`p99_ms` and `drop` null without data. `heard` of `pairs` were heard of; `sources` lost
    something."""

    source: str
    target: str
    colour: Literal["green", "yellow", "red", "none", "blank"]
    why: str
    sent: int
    lost: int
    sources: int
    pairs: int
    heard: int
    p99_ms: float | None
    drop: float | None


class FaultJson(Struct, frozen=True):
    kind: str
    members: tuple[str, ...]
    sent: int
    bad: int
    pairs: int
    bad_pairs: int
    evidence: str


class VotesJson(Struct, frozen=True):
    component: str
    votes: float


class MeshJson(Struct, frozen=True):
    """GET /mesh.json. `timestamp` in seconds since the epoch, null before the first reading;
    `stale`: why members may be out of date; `problem`: why there are no results. `cells` are
    racks', or nodes' where two racks are asked for (?rack=…&to=…)."""

    timestamp: float | None
    window_seconds: float
    origin: str
    problem: str | None
    stale: str | None
    members: int
    silent: tuple[str, ...]
    faults: tuple[FaultJson, ...]
    votes: tuple[VotesJson, ...]
    cells: tuple[CellJson, ...]


def as_json(reading: Reading, matrix: Matrix, stale: str | None) -> MeshJson:
    """`matrix` is one of the reading's."""
    return MeshJson(
        reading.at,
        reading.window,
        reading.origin,
        reading.problem,
        stale,
        len(reading.topology),
        reading.silent,
        tuple(
            FaultJson(
                f.kind, f.members, round(f.sent), round(f.bad), f.pairs, f.bad_pairs, f.evidence
            )
            for f in reading.faults
        ),
        tuple(VotesJson(each.component, round(each.votes, 3)) for each in reading.votes),
        tuple(
            _cell(source, target, cell)
            for source, line in zip(matrix.names, matrix.cells, strict=True)
            for target, cell in zip(matrix.targets or matrix.names, line, strict=True)
        ),
    )


def _cell(source: str, target: str, cell: Cell) -> CellJson:
    return CellJson(
        source,
        target,
        cell.colour,
        cell.why,
        round(cell.sent),
        round(cell.lost),
        cell.sources,
        cell.pairs,
        cell.heard,
        None if cell.p99 is None else round(cell.p99, 3),
        None if cell.drop is None else round(cell.drop, 6),
    )
