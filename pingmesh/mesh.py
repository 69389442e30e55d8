"""Agents' results as a matrix: which part of the mesh is well, slow, lossy, or not heard of.

The rule: pure, and no data is never green. A loss is a fact about a pair, red is a statement about
a cell: it takes two losses from two sources and a Wilson lower bound over the threshold, since one
loss in 60 probes is 1.7 %. Knows no HTTP and no metric's name.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import sqrt
from typing import Literal, NamedTuple

from pingmesh.controller_config import Level, Thresholds
from pingmesh.topology import Member, RackId, Ties, Topology

Colour = Literal["green", "yellow", "red", "none", "blank"]
"""none: should be probed, nothing is heard (white in the paper). blank: nothing to probe."""
Z = 1.96
QUANTILE = 0.99
WHOLE = slice(None)


class Tally(NamedTuple):
    """Probes of a window. `slow` counts answers by upper bound in seconds, ascending, each
    bucket for itself; the last bound is inf. Counts may be fractions, where shared out."""

    sent: float
    lost: float
    slow: tuple[tuple[float, float], ...] = ()


NOTHING = Tally(0, 0)


class Report(NamedTuple):
    """What one agent says of the window. `racks`: its probes by target rack. `failing`: in how
    many of the `rounds` that were looked at a target (by address) failed. `recent`: as `racks`, of
    the end of the window: how it is now."""

    source: str
    racks: Mapping[RackId, Tally]
    rounds: int = 0
    failing: Mapping[str, int] = {}
    recent: Mapping[RackId, Tally] = {}


class Row(NamedTuple):
    """A directed pair that was probed; `lost` and `slow` may be estimates within a rack."""

    source: Member
    target: Member
    sent: float
    lost: float
    slow: float
    """Answers over the red threshold of this distance."""
    recent_sent: float = 0.0
    recent_lost: float = 0.0


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


def wilson_lower(lost: float, sent: float) -> float:
    """The least drop rate that `lost` of `sent` speak for at 95 % (Wilson 1927)."""
    if not sent:
        return 0.0
    share, square = lost / sent, Z * Z / sent
    middle = share + square / 2
    margin = Z * sqrt(share * (1 - share) / sent + square / (4 * sent))
    return max(0.0, (middle - margin) / (1 + square))


def merged(tallies: Sequence[Tally]) -> Tally:
    if len(tallies) == 1:
        return tallies[0]
    sent = lost = 0.0
    slow: dict[float, float] = {}
    for tally in tallies:
        sent += tally.sent
        lost += tally.lost
        for bound, count in tally.slow:
            slow[bound] = slow.get(bound, 0.0) + count
    return Tally(sent, lost, tuple(sorted(slow.items())))


def p99(tally: Tally) -> float | None:
    """Milliseconds, within a bucket as if its answers were spread evenly (as Prometheus'
    histogram_quantile); the largest finite bound where it lies beyond. None without answers."""
    total = sum(count for _, count in tally.slow)
    if not total:
        return None
    rank, below, floor = QUANTILE * total, 0.0, 0.0
    for bound, count in tally.slow:
        if count and below + count >= rank:
            top = (
                floor if bound == float("inf") else floor + (bound - floor) * (rank - below) / count
            )
            return top * 1000
        below += count
        floor = bound
    return floor * 1000


def over(tally: Tally, seconds: float) -> float:
    """Answers that took longer than the nearest bound at or above this."""
    if not tally.slow or tally.slow[-1][0] < seconds:
        return 0.0
    bounds = [bound for bound, _ in tally.slow]
    first = bisect_left(bounds, seconds)
    return sum(count for _, count in tally.slow[first + 1 :])


def level_of(a: RackId, b: RackId, thresholds: Thresholds) -> Level:
    if a == b:
        return thresholds.rack
    return thresholds.zone if a.zone == b.zone else thresholds.between_zones


def rows(
    topology: Topology,
    reports: Mapping[str, Report],
    addresses: Mapping[str, str],
    thresholds: Thresholds,
) -> Iterator[Row]:
    """Every pair that is probed and heard of. `addresses`: where each member is probed, by name.

    Agents count by target rack. Where they probe one node of it, that is the pair's count; where
    several (their own rack), losses go to those that were seen failing, in proportion; where none
    was, to those that others lose most from and that lose most themselves."""
    suspicion = _suspicion(topology, reports, addresses)
    for name in sorted(reports):
        report = reports[name]
        if name not in topology:
            continue
        source = topology.member(name)
        for tie in topology.ties(name):
            tally = report.racks.get(tie.rack, NOTHING)
            if not tally.sent:
                continue
            slow = over(tally, level_of(source.rack_id, tie.rack, thresholds).red / 1000)
            yield from _shared(source, tie, tally, slow, report, addresses, suspicion)


def _suspicion(
    topology: Topology, reports: Mapping[str, Report], addresses: Mapping[str, str]
) -> dict[str, float]:
    failing: dict[str, float] = {}
    for report in reports.values():
        for address, count in report.failing.items():
            failing[address] = failing.get(address, 0.0) + count
    found = {}
    for name in topology.names:
        own = reports.get(name)
        lost = sum(tally.lost for tally in own.racks.values()) if own else 0.0
        found[name] = failing.get(addresses[name], 0.0) + lost
    return found


def _shared(
    source: Member,
    tie: Ties,
    tally: Tally,
    slow: float,
    report: Report,
    addresses: Mapping[str, str],
    suspicion: Mapping[str, float],
) -> Iterator[Row]:
    count = len(tie.members)
    recent = report.recent.get(tie.rack, NOTHING)
    if count == 1:  # most of a large mesh, so no number is made anew
        member = tie.members[0]
        lost, lost_recent = min(tally.sent, tally.lost), min(recent.sent, recent.lost)
        yield Row(source, member, tally.sent, lost, slow, recent.sent, lost_recent)
        return
    each, each_slow, each_recent = tally.sent / count, slow / count, recent.sent / count
    if not tally.lost and not recent.lost:
        for member in tie.members:
            yield Row(source, member, each, 0.0, each_slow, each_recent, 0.0)
        return
    fails: list[float] = [report.failing.get(addresses[m.name], 0) for m in tie.members]
    if not sum(fails) and tally.lost:
        fails = [suspicion.get(m.name, 0.0) for m in tie.members]
    total = sum(fails)
    for member, failed in zip(tie.members, fails, strict=True):
        share = failed / total if total else 1 / count
        lost, lost_recent = min(each, tally.lost * share), min(each_recent, recent.lost * share)
        yield Row(source, member, each, lost, each_slow, each_recent, lost_recent)


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
        shared: dict[str, Row] = {}
        if tie and report and tally.sent:
            shared = {
                row.target.name: row
                for row in _shared(source, tie, tally, 0.0, report, addresses, {})
            }
        line = []
        for target in probed_ones:
            row = shared.get(target.name)
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
