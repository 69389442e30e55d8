"""Which prober probes which pod that opted in.

The rule: a pod is probed by at most one prober of its own rack, one of another rack of its zone,
and one of another zone, so that whoever loses it says where the way is broken; never from its own
node. Spread by hash with a bound on each prober's load (Mirrokni et al., "Consistent hashing with
bounded loads", 2017), so that a pod more or less moves few others. Pure; same members, same answer.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pingmesh.hashing import place_of
from pingmesh.topology import Member, Rack, RackId, Ties

SLACK = 1.25
"""How many times the average a prober may have."""


class Chosen(NamedTuple):
    """`ties` by prober: what it probes, rack by rack. `unprobed` pods have no prober at all."""

    ties: Mapping[str, tuple[Ties, ...]]
    unprobed: int


def _after(rack: Rack, place: int) -> Iterator[Member]:
    """All of it, from this place on its ring on."""
    ring = rack.ring
    start = bisect_left(rack.places, place)
    for step in range(len(ring)):
        yield ring[(start + step) % len(ring)]


def most_per_prober(targets: int, probers: int, most: int) -> int:
    """How many of so many targets a prober gets at most, `most` being what it has room for."""
    return min(most, int(SLACK * 3 * targets / probers) + 1) if probers and targets else 0


def choose_probers(racks: Mapping[RackId, Rack], targets: Sequence[Member], bound: int) -> Chosen:
    """`racks` are the probers'; none of them gets more than `bound`."""
    ids = sorted(racks)
    near: dict[RackId, list[RackId]] = {}
    far: dict[str, list[RackId]] = {}
    loads: Counter[str] = Counter()
    dealt: dict[str, dict[RackId, list[Member]]] = {}
    unprobed = 0

    def give(target: Member, place: int, ids: Iterable[RackId]) -> bool:
        for id_ in ids:
            for prober in _after(racks[id_], place):
                if loads[prober.name] < bound and prober.host != target.host:
                    loads[prober.name] += 1
                    dealt.setdefault(prober.name, {}).setdefault(target.rack_id, []).append(target)
                    return True
        return False

    for target in sorted(targets):
        own = target.rack_id
        if own not in near:
            near[own] = [id_ for id_ in ids if id_.zone == own.zone and id_ != own]
        if own.zone not in far:
            far[own.zone] = [id_ for id_ in ids if id_.zone != own.zone]
        place = place_of(target.name)
        found = [give(target, place, (own,))] if own in racks else [False]
        found += [
            give(target, place, _turned(ids, place)) for ids in (near[own], far[own.zone]) if ids
        ]
        unprobed += not any(found)
    return Chosen(
        {
            name: tuple(Ties(id_, tuple(each)) for id_, each in sorted(found.items()))
            for name, found in dealt.items()
        },
        unprobed,
    )


def _turned(ids: Sequence[RackId], place: int) -> Iterator[RackId]:
    start = place % len(ids)
    for step in range(min(len(ids), 4)):  # four full racks say that all are
        yield ids[(start + step) % len(ids)]
