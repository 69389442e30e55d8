"""What is broken, named with its evidence: the fewest faults that explain the losses seen.

Every pair's path crosses its two nodes, the uplinks of their racks if these differ, the edges of
their zones and the way between these if those differ. Each such component is a hypothesis: "what
crosses it is lost at one rate, and the rest at the background's". The likeliest is named, its
pairs are taken out, and so on (maximum likelihood and greedy as in NetBouncer, NSDI 2019, and 007,
NSDI 2018, whose votes rank what is not certain enough to be named). Pure.

The paper's patterns (Pingmesh, 2015, section 6.3): podset down is a white cross, podset failure a
red cross, spine failure red but for a green diagonal; a podset is a zone here.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import log
from typing import Literal, NamedTuple

from pingmesh.mesh import Row, wilson_lower
from pingmesh.topology import Member, RackId

Kind = Literal[
    "node down", "node lossy", "rack isolated", "rack uplink", "podset down", "podset failure",
    "zone pair", "spine failure", "rack pair", "black hole", "mesh lossy",
    "node slow", "rack slow", "podset slow", "zone pair slow", "spine slow", "rack pair slow",
    "mesh slow",
]  # fmt: skip
Component = tuple[str, ...]
"""("node", name), ("rack", zone, rack), ("zone", z), ("zones", a, b), ("spine",), ("mesh",),
("racks", zone, rack, zone, rack) or ("pair", source, target)."""

BACKGROUND = 1e-4
ALL = 0.9
"""The share from which on loss is total: a link that is cut, a node that is down."""
LEAST_GAIN = 7.0
"""Nats beyond what the number of hypotheses would bring about by chance."""
LEAST_SENT = 5
LEAST_SPREAD = 0.6
MOST_FAULTS = 32
SLOW_BACKGROUND = 0.002
SLOW = 0.01
"""More than one answer in a hundred over the threshold is what P99 over it means."""

# Of hypotheses with the same pairs the first is named.
_ORDER = ("node", "rack", "zones", "zone", "spine", "racks", "pair", "mesh")
_LOSSY: Mapping[str, tuple[Kind, Kind]] = {
    "node": ("node down", "node lossy"),
    "rack": ("rack isolated", "rack uplink"),
    "zone": ("podset down", "podset failure"),
    "zones": ("zone pair", "zone pair"),
    "spine": ("spine failure", "spine failure"),
    "racks": ("rack pair", "rack pair"),
    "pair": ("black hole", "black hole"),
    "mesh": ("mesh lossy", "mesh lossy"),
}
_SLOW: Mapping[str, Kind] = {
    "node": "node slow",
    "rack": "rack slow",
    "zone": "podset slow",
    "zones": "zone pair slow",
    "spine": "spine slow",
    "racks": "rack pair slow",
    "mesh": "mesh slow",
}


class Fault(NamedTuple):
    """`members` are names: a node's, a rack's ("zone/rack"), a zone's, both of a pair's (source
    first where it is directed). `bad` of `sent` probes were lost (or slow), on `bad_pairs` of
    `pairs`. `evidence` says so in one line."""

    kind: Kind
    members: tuple[str, ...]
    sent: float
    bad: float
    pairs: int
    bad_pairs: int
    evidence: str


class Votes(NamedTuple):
    """007's: every bad pair shares one vote among the components of its path."""

    component: str
    votes: float


class _Sum:
    __slots__ = ("bad", "bad_pairs", "pairs", "sent")

    def __init__(self) -> None:
        self.pairs = 0
        self.sent = self.bad = self.bad_pairs = 0.0

    def add(self, pairs: int, sent: float, bad: float, bad_pairs: float) -> None:
        self.pairs += pairs
        self.sent += sent
        self.bad += bad
        self.bad_pairs += bad_pairs


class _Pair(NamedTuple):
    source: Member
    target: Member
    sent: float
    bad: float
    recent_sent: float = 0.0
    recent_bad: float = 0.0


def faults(rows: Iterable[Row], silent: Collection[str], drop: float = 1e-3) -> list[Fault]:
    """What the losses say, surest first. `silent`: agents that are not heard of."""
    rows = list(rows)
    if not any(row.lost for row in rows):
        return []
    pairs = [_Pair(r.source, r.target, r.sent, r.lost, r.recent_sent, r.recent_lost) for r in rows]
    single = sum(pair.bad for pair in pairs if pair.bad <= 1)
    sent = sum(pair.sent for pair in pairs)
    background = min(max(BACKGROUND, single / sent if sent else 0.0), drop / 2)
    return _explain(pairs, silent, background, drop, slow=False)


def slow_faults(rows: Iterable[Row], but: Iterable[Fault] = ()) -> list[Fault]:
    """What the slow answers say. `but`: what is lossy anyway is not called slow too."""
    rows = list(rows)
    if not any(row.slow for row in rows):
        return []
    named = {fault.members for fault in but}
    pairs = [
        _Pair(r.source, r.target, r.sent - r.lost, min(r.slow, r.sent - r.lost))
        for r in rows
        if r.sent > r.lost
    ]
    found = _explain(pairs, (), SLOW_BACKGROUND, SLOW, slow=True)
    return [fault for fault in found if fault.members not in named]


def votes(rows: Iterable[Row], most: int = 10) -> list[Votes]:
    """Components ranked by voting over failing paths."""
    counted: dict[Component, float] = defaultdict(float)
    for row in rows:
        if row.lost > 0:
            path = [c for c in _path(row.source, row.target) if c[0] in ("node", "rack", "zones")]
            for component in path:
                counted[component] += min(1.0, row.lost) / len(path)
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [Votes(_say(component), count) for component, count in ranked[:most]]


def _explain(
    pairs: list[_Pair], silent: Collection[str], background: float, least: float, slow: bool
) -> list[Fault]:
    found: list[Fault] = []
    while len(found) < MOST_FAULTS and any(pair.bad > 0 for pair in pairs):
        best = _likeliest(pairs, silent, background, least, slow)
        if best is None:
            break
        component, total = best
        now = _recent(component, pairs)
        if not _over(total, now):
            found.append(_fault(component, total, now, silent, pairs, slow))
        crosses = _crosses(component)
        pairs = [pair for pair in pairs if not crosses(pair)]
    return _both_ways(found)


def _likeliest(
    pairs: Sequence[_Pair],
    silent: Collection[str],
    background: float,
    least: float,
    slow: bool,
) -> tuple[Component, _Sum] | None:
    sums = _sums(pairs, slow)
    dead_zones = _dead_zones(pairs, silent)
    bar = LEAST_GAIN + log(max(1, len(sums)))
    ranked = []
    for component, total in sums.items():
        gain = _gain(total, background)
        if gain >= bar:
            order = _ORDER.index(component[0])
            if component[0] == "zone" and component[1] in dead_zones:
                order = -1
            ranked.append((-round(gain, 6), order, component))
    for _, _, component in sorted(ranked):
        total = sums[component]
        if _plausible(component, total, least, pairs):
            return component, total
    return None


def _sums(pairs: Sequence[_Pair], slow: bool) -> dict[Component, _Sum]:
    """Every component that something bad crosses."""
    sums: dict[Component, _Sum] = defaultdict(_Sum)
    nodes: dict[str, _Sum] = {}
    for pair in pairs:
        if pair.bad > 0:
            for name in (pair.source.name, pair.target.name):
                nodes[name] = sums["node", name]
            if not slow:
                names = "pair", pair.source.name, pair.target.name
                sums[names].add(1, pair.sent, pair.bad, min(1.0, pair.bad))
    cells: dict[tuple[str, str, str, str], _Sum] = defaultdict(_Sum)
    for source, target, sent, bad, _, _ in pairs:  # a million of a large mesh
        bad_pairs = 1.0 if bad > 1.0 else bad
        cells[source.zone, source.rack, target.zone, target.rack].add(1, sent, bad, bad_pairs)
        for name in (source.name, target.name):
            if name in nodes:
                nodes[name].add(1, sent, bad, bad_pairs)
    for (zone, rack, to_zone, to_rack), total in cells.items():
        for component in (("mesh",), *_between(RackId(zone, rack), RackId(to_zone, to_rack))):
            sums[component].add(total.pairs, total.sent, total.bad, total.bad_pairs)
    return {component: total for component, total in sums.items() if total.bad}


def _gain(total: _Sum, background: float) -> float:
    """How much likelier (nats) one rate of its own makes these losses than the background's."""
    rate = min(total.bad / total.sent, 1 - 1e-6)
    if rate <= background:
        return 0.0
    good = total.sent - total.bad
    return total.bad * log(rate / background) + good * log((1 - rate) / (1 - background))


def _plausible(component: Component, total: _Sum, least: float, pairs: Sequence[_Pair]) -> bool:
    rate = total.bad / total.sent
    if component[0] == "pair":
        now = _recent(component, pairs)
        judged = now if now.sent >= LEAST_SENT else total
        return judged.bad >= ALL * judged.sent and judged.sent >= LEAST_SENT
    if total.bad < 2 or wilson_lower(total.bad, total.sent) <= least:
        return False
    # One rate for all that cross it: then so many pairs must have lost something.
    expected = total.pairs * (1 - (1 - min(rate, 1.0)) ** (total.sent / total.pairs))
    if total.bad_pairs < LEAST_SPREAD * expected:
        return False
    crosses = _crosses(component)
    bad = [pair for pair in pairs if pair.bad > 0 and crosses(pair)]
    if component[0] == "node":  # of a node alone: what fails at both ends of one pair is the pair
        others = {p.source.name if p.target.name == component[1] else p.target.name for p in bad}
        return len(others) >= 2
    return len({p.source.name for p in bad}) >= 2 and len({p.target.name for p in bad}) >= 2


def _recent(component: Component, pairs: Sequence[_Pair]) -> _Sum:
    """What crossed it at the end of the window."""
    now, crosses = _Sum(), _crosses(component)
    for pair in pairs:
        if crosses(pair):
            now.add(1, pair.recent_sent, pair.recent_bad, min(1.0, pair.recent_bad))
    return now


def _over(total: _Sum, now: _Sum) -> bool:
    """Nothing is lost any more where at that rate something would have been (e^-7 by chance)."""
    return now.bad < 0.5 and now.sent * total.bad / total.sent > LEAST_GAIN


def _dead_zones(pairs: Sequence[_Pair], silent: Collection[str]) -> set[str]:
    """Zones whose agents are all silent, of those that are probed."""
    if not silent:
        return set()
    heard = {pair.source.zone for pair in pairs}
    return {pair.target.zone for pair in pairs if pair.target.name in silent} - heard


def _path(source: Member, target: Member) -> list[Component]:
    found: list[Component] = [("node", source.name), ("node", target.name)]
    return [*found, *_between(source.rack_id, target.rack_id)]


def _between(a: RackId, b: RackId) -> list[Component]:
    if a == b:
        return []
    first, second = sorted((a, b))
    found: list[Component] = [("rack", *a), ("rack", *b), ("racks", *first, *second)]
    if a.zone != b.zone:
        found += [("zone", a.zone), ("zone", b.zone), ("zones", first.zone, second.zone)]
        found.append(("spine",))
    return found


def _crosses(component: Component) -> Callable[[_Pair], bool]:
    """Whether a pair's path crosses it; made once for a million pairs."""
    kind, *rest = component
    match kind:
        case "node":
            name = rest[0]
            return lambda p: p.source.name == name or p.target.name == name
        case "pair":
            return lambda p: [p.source.name, p.target.name] == rest
        case "mesh":
            return lambda p: True
        case "spine":
            return lambda p: p.source.zone != p.target.zone
        case "zone":
            zone = rest[0]
            return lambda p: (p.source.zone == zone) != (p.target.zone == zone)
        case "zones":
            return lambda p: sorted((p.source.zone, p.target.zone)) == rest
        case "rack":
            own = tuple(rest)
            return lambda p: (p.source[1:3] == own) != (p.target[1:3] == own)
    racks = [tuple(rest[:2]), tuple(rest[2:])]
    return lambda p: sorted((p.source.rack_id, p.target.rack_id)) == racks


def _fault(
    component: Component,
    total: _Sum,
    now: _Sum,
    silent: Collection[str],
    pairs: Sequence[_Pair],
    slow: bool,
) -> Fault:
    kind = component[0]
    judged = now if now.sent >= LEAST_SENT else total
    complete = judged.bad >= ALL * judged.sent
    if kind == "zone":
        complete = component[1] in _dead_zones(pairs, silent)
    name = _SLOW[kind] if slow else _LOSSY[kind][0 if complete else 1]
    touched = round(total.bad_pairs) if total.bad_pairs >= 1 else 1
    what = "slow" if slow else "lost"
    evidence = (
        f"{total.bad:.0f} of {total.sent:.0f} probes {what} ({total.bad / total.sent:.1%}) on "
        f"{touched} of {total.pairs} pairs that cross it"
    )
    if judged is now and complete and total.bad < ALL * total.sent:
        evidence += f", {now.bad:.0f} of the last {now.sent:.0f}"
    if kind == "node" and component[1] in silent:
        evidence += "; its agent is not heard of"
    if kind == "rack":
        inside = {p.target.name for p in pairs if p.target.rack_id == RackId(*component[1:])}
        if inside and inside <= set(silent):
            evidence += "; none of its agents is heard of, it may be down"
    if name == "podset down":
        evidence += "; none of its agents is heard of (white cross)"
    elif name == "podset failure":
        evidence += " (red cross)"
    elif name == "spine failure":
        evidence += " (red, green diagonal)"
    return Fault(name, _members(component), total.sent, total.bad, total.pairs, touched, evidence)


def _members(component: Component) -> tuple[str, ...]:
    kind, *rest = component
    if kind == "rack":
        return (str(RackId(*rest)),)
    if kind == "racks":
        return str(RackId(*rest[:2])), str(RackId(*rest[2:]))
    return tuple(rest)


def _say(component: Component) -> str:
    kind = {"zones": "zone pair", "racks": "rack pair", "rack": "rack uplink"}.get(
        component[0], component[0]
    )
    return " ".join((kind, " – ".join(_members(component))))


def _both_ways(found: list[Fault]) -> list[Fault]:
    """A pair that fails either way is said once."""
    kept: list[Fault] = []
    holes = {fault.members: fault for fault in found if fault.kind == "black hole"}
    for fault in found:
        back = holes.get(fault.members[::-1]) if fault.kind == "black hole" else None
        if back is None:
            kept.append(fault)
        elif fault.members < back.members:
            evidence = f"{fault.evidence}, and the other way {back.bad:.0f} of {back.sent:.0f}"
            kept.append(fault._replace(evidence=evidence))
    return kept
