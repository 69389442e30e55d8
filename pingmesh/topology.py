"""Who probes whom: three complete graphs over nodes, racks, zones (Pingmesh, 2015, section 3.3.1).

The rule: a pure function of the set of members: same members in any order, same answer on every
replica; and one member more or less moves few others. Within a rack everybody probes everybody;
between racks of a zone the i-th node the i-th; between zones a few per pair of racks. Where that
is too much for one agent all three are thinned evenly, but no pair of racks is left without a
prober as long as there is room for one. Knows no file, no HTTP, no pinglist's syntax.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from pingmesh.hashing import jump, place_of, words_of

MOST_SLOTS = 512
"""Slots of a rack. What a rack has beyond that probes from a slot that another holds, and is
probed by its own rack only."""
MOST_BETWEEN_ZONES = 8


class RackId(NamedTuple):
    """A rack's name means something within its zone only. Both may be ""."""

    zone: str
    rack: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part) or "all"


class Member(NamedTuple):
    """Who is probed. `addresses` are numeric, in order of preference. Members of one `host` never
    probe each other ("": it is a host of its own). One that is no `agent` probes nobody and is in
    no topology."""

    name: str
    zone: str
    rack: str
    addresses: tuple[str, ...]
    host: str = ""
    agent: bool = True

    @property
    def rack_id(self) -> RackId:
        return RackId(self.zone, self.rack)


class Rules(NamedTuple):
    """`max_targets` per agent; `between_zones` is how many nodes of a rack probe each rack of
    other zones."""

    max_targets: int = 2500
    between_zones: int = 2


DEFAULT_RULES = Rules()


class Ties(NamedTuple):
    """What one agent probes in one rack, by name."""

    rack: RackId
    members: tuple[Member, ...]


class Plan(NamedTuple):
    """What the slots of one rack probe. `peers`: how many of the own rack each member probes.
    `near` and `far`: the racks by slot. `thinned`: some probes were shed; `dropped` are the
    racks that nobody here has room for although it is this rack's turn."""

    peers: int
    near: Sequence[Sequence[RackId]]
    far: Sequence[Sequence[RackId]]
    thinned: bool = False
    dropped: Sequence[RackId] = ()


class Rack:
    """The members of one rack, in an order of their own hashes, so that one more or less leaves
    the others where they are."""

    def __init__(self, id_: RackId, members: tuple[Member, ...]) -> None:
        self.id = id_
        self.members = members
        """By name."""
        self._at: dict[int, Ties] = {}

    @cached_property
    def ring(self) -> tuple[Member, ...]:
        return tuple(sorted(self.members, key=lambda each: (place_of(each.name), each.name)))

    @cached_property
    def places(self) -> Sequence[int]:
        """Where on the ring each of it stands."""
        return [place_of(each.name) for each in self.ring]

    @cached_property
    def positions(self) -> Mapping[str, int]:
        return {each.name: index for index, each in enumerate(self.ring)}

    @cached_property
    def slots(self) -> tuple[Member, ...]:
        """Slot after slot takes the member that hashes highest for it of those that are left: who
        leaves is replaced by somebody from a later slot, and so on, ln(n) moves on average."""
        count = min(len(self.members), MOST_SLOTS)
        words = (words_of(each.name, count) for each in self.members)
        columns = list(zip(*words, strict=True))
        free = list(range(len(self.members)))
        taken = []
        for column in columns:
            best = max(free, key=column.__getitem__)
            free.remove(best)
            taken.append(self.members[best])
        return tuple(taken)

    @cached_property
    def slot_of(self) -> Mapping[str, int]:
        held = {each.name: slot for slot, each in enumerate(self.slots)}
        if len(held) < len(self.members):
            for each in self.members:
                held.setdefault(each.name, place_of(each.name) % len(self.slots))
        return held

    def at(self, slot: int) -> Ties:
        """Whom this slot of another rack probes here: the i-th, or where there is no i-th one
        that stays the same while the rack grows and shrinks."""
        tie = self._at.get(slot)
        if tie is None:
            here = slot if slot < len(self.slots) else jump(slot, len(self.slots))
            tie = self._at[slot] = Ties(self.id, (self.slots[here],))
        return tie

    def after(self, member: Member, count: int) -> tuple[Member, ...]:
        """The `count` next on the ring that are not on the same host, by name; everybody is probed
        equally often so."""
        size = len(self.ring)
        host = member.host or member.name
        if count >= size - 1:
            return tuple([e for e in self.members if (e.host or e.name) != host])
        start = self.positions[member.name]
        found: list[Member] = []
        for step in range(1, size):
            if len(found) == count:
                break
            each = self.ring[(start + step) % size]
            if (each.host or each.name) != host:
                found.append(each)
        return tuple(sorted(found))


class Topology:
    """All lists, made when they are asked for. `before` lends what has not changed since: racks
    with the same members, plans of racks as large as before among the same racks."""

    def __init__(
        self,
        members: Iterable[Member],
        rules: Rules = DEFAULT_RULES,
        before: "Topology | None" = None,
    ) -> None:
        """Raises ValueError where two members have one name."""
        self.rules = rules
        by_rack: dict[tuple[str, str], list[Member]] = {}
        for each in members:
            by_rack.setdefault((each.zone, each.rack), []).append(each)
        self.racks: dict[RackId, Rack] = {}
        self._rack_of: dict[str, Rack] = {}
        count = 0
        for key in sorted(by_rack):
            ordered = tuple(sorted(by_rack[key]))
            old = before.racks.get(RackId(*key)) if before else None
            rack = old if old and old.members == ordered else Rack(RackId(*key), ordered)
            self.racks[rack.id] = rack
            self._rack_of.update((each.name, rack) for each in ordered)
            count += len(ordered)
        if count != len(self._rack_of):
            raise ValueError("two members have one name")
        self._order = sorted(self.racks, key=lambda id_: (place_of(_key(id_)), id_))
        self._plans: dict[RackId, Plan] = {}
        self._columns: dict[tuple[str, int], tuple[Ties, ...]] = {}
        if before and rules == before.rules and before.racks.keys() == self.racks.keys():
            for id_, plan in dict(before._plans).items():
                if len(before.racks[id_].members) == len(self.racks[id_].members):
                    self._plans[id_] = plan

    def __len__(self) -> int:
        return len(self._rack_of)

    def __contains__(self, name: str) -> bool:
        return name in self._rack_of

    @property
    def names(self) -> Iterable[str]:
        return self._rack_of.keys()

    def member(self, name: str) -> Member:
        """Raises KeyError."""
        rack = self._rack_of[name]
        return rack.ring[rack.positions[name]]

    def ties(self, name: str) -> list[Ties]:
        """What this agent probes: its own rack first, then rack by rack. Raises KeyError."""
        rack = self._rack_of[name]
        member = rack.ring[rack.positions[name]]
        slot = rack.slot_of[name]
        plan = self.plan(rack.id)
        own = rack.after(member, plan.peers)
        ties = [Ties(rack.id, own)] if own else []
        if plan.thinned:
            ties += (self.racks[id_].at(slot) for id_ in sorted(plan.near[slot]))
        else:
            ties += (each for each in self._column(rack.id.zone, slot) if each.rack != rack.id)
        ties += (self.racks[id_].at(slot) for id_ in sorted(plan.far[slot]))
        return ties

    def _column(self, zone: str, slot: int) -> tuple[Ties, ...]:
        """What this slot of each rack of a zone probes in the others, its own among them. A node
        of a small rack is probed by no more than two of a large one."""
        column = self._columns.get((zone, slot))
        if column is None:
            racks = (rack for rack in self.racks.values() if rack.id.zone == zone)
            column = tuple(rack.at(slot) for rack in racks if slot < 2 * len(rack.slots))
            self._columns[zone, slot] = column
        return column

    def pairs(self) -> Iterator[tuple[Member, Member]]:
        """Every (source, target) of all lists."""
        for name in sorted(self._rack_of):
            source = self.member(name)
            for _, targets in self.ties(name):
                for target in targets:
                    yield source, target

    def uncovered(self) -> int:
        """Pairs of racks that nobody probes, because no agent has room for them."""
        return sum(
            not any(id_ in racks for racks in (*self.plan(other).near, *self.plan(other).far))
            for id_ in self.racks
            for other in self.plan(id_).dropped
        )

    def plan(self, id_: RackId) -> Plan:
        plan = self._plans.get(id_)
        if plan is None:
            plan = self._plans[id_] = self._make_plan(self.racks[id_])
        return plan

    def _make_plan(self, rack: Rack) -> Plan:
        peers, slots = len(rack.members) - 1, len(rack.slots)
        start = self._order.index(rack.id) + 1
        others = self._order[start:] + self._order[: start - 1]
        near = [id_ for id_ in others if id_.zone == rack.id.zone]
        far = [id_ for id_ in others if id_.zone != rack.id.zone]
        few = min(self.rules.between_zones, slots, MOST_BETWEEN_ZONES)
        far_slots = _scatter(rack.id, far, slots, few)
        room = self.rules.max_targets
        if peers + len(near) + max(map(len, far_slots)) <= room:
            return Plan(peers, [near] * slots, far_slots)
        return _thin(peers, near, far, others, len(self._order), slots, few, room, start - 1)


def _thin(
    peers: int,
    near: Sequence[RackId],
    far: Sequence[RackId],
    others: Sequence[RackId],
    total: int,
    slots: int,
    few: int,
    room: int,
    position: int,
) -> Plan:
    """One prober per pair of racks, then as much of all three kinds as there is room for, in
    proportion. Racks are dealt out in turn, so that the slots' loads differ by one at most."""
    least_near, least_far = -(-len(near) // slots), -(-len(far) // slots)
    spare = room - least_near - least_far
    if spare < 0:
        # One of two racks probes the other: the one that has it in the half ring before itself.
        half = [
            id_
            for distance, id_ in enumerate(others, 1)
            if 2 * distance < total or (2 * distance == total and position < total // 2)
        ]
        kept = half[: room * slots]
        left = room - -(-len(kept) // slots)
        none: list[list[RackId]] = [[] for _ in range(slots)]
        return Plan(min(peers, left), _deal(kept, slots, 1), none, True, half[len(kept) :])
    more_near, more_far = len(near) - least_near, -(-len(far) * few // slots) - least_far
    wanted = peers + more_near + more_far
    share = min(1.0, spare / wanted) if wanted else 0.0
    most_near = least_near + int(share * more_near)
    most_far = least_far + int(share * more_far)
    per_near = max(1, most_near * slots // len(near)) if near else 0
    per_far = max(1, min(few, most_far * slots // len(far))) if far else 0
    used = -(-len(near) * per_near // slots) + -(-len(far) * per_far // slots)
    return Plan(
        min(peers, room - used), _deal(near, slots, per_near), _deal(far, slots, per_far), True
    )


def _deal(racks: Sequence[RackId], slots: int, per_rack: int) -> list[list[RackId]]:
    dealt: list[list[RackId]] = [[] for _ in range(slots)]
    turn = 0
    for id_ in racks:
        for _ in range(per_rack):
            dealt[turn].append(id_)
            turn = (turn + 1) % slots
    return dealt


def _scatter(own: RackId, racks: Sequence[RackId], slots: int, few: int) -> list[list[RackId]]:
    """As dealt, but by hash, so that a rack more or less moves no other's probers."""
    scattered: list[list[RackId]] = [[] for _ in range(slots)]
    prefix = hashlib.blake2b(_key(own).encode() + b"\1", digest_size=8 * few or 1)
    for id_ in racks:
        digest = prefix.copy()
        digest.update(_key(id_).encode())
        taken: list[int] = []
        for number in struct.unpack(f">{few}Q", digest.digest()) if few else ():
            slot = jump(number, slots)
            while slot in taken:
                slot = (slot + 1) % slots
            taken.append(slot)
            scattered[slot].append(id_)
    return scattered


def _key(id_: RackId) -> str:
    return f"{id_.zone}\0{id_.rack}"
