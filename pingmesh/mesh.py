"""Agents' results: what they say by rack, what that is pair by pair, and what so many losses speak
for. Pure. Knows no HTTP and no metric's name; what is red is mesh_matrix.py's to say.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import NamedTuple

from pingmesh.controller_config import Level, Thresholds
from pingmesh.topology import Member, RackId, Ties, Topology

Z = 1.96
QUANTILE = 0.99


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
            yield from shared(source, tie, tally, slow, report, addresses, suspicion)


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


def shared(
    source: Member,
    tie: Ties,
    tally: Tally,
    slow: float,
    report: Report,
    addresses: Mapping[str, str],
    suspicion: Mapping[str, float],
) -> Iterator[Row]:
    """What a source says of a rack, shared out among those of it that it probes, as `rows` does."""
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
