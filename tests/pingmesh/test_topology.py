"""Three complete graphs: every pair of racks has a prober, loads are even, changes stay small."""

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingmesh.topology import Member, RackId, Rules, Ties, Topology

SHAPES = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(0, 5)), st.integers(1, 9), min_size=1
)


def members(shape: dict[tuple[str, int], int]) -> list[Member]:
    return [
        Member(f"n-{zone}-{rack}-{i}", zone, f"r{rack}", (f"10.{ord(zone)}.{rack}.{i}",))
        for (zone, rack), size in shape.items()
        for i in range(size)
    ]


def even(zones: int, racks: int, size: int) -> list[Member]:
    return members({(chr(97 + z), r): size for z in range(zones) for r in range(racks)})


def rack_pairs(topology: Topology) -> set[frozenset[RackId]]:
    found = (frozenset((a.rack_id, b.rack_id)) for a, b in topology.pairs())
    return {pair for pair in found if len(pair) == 2}


def all_lists(topology: Topology) -> dict[str, list[Ties]]:
    return {name: topology.ties(name) for name in topology.names}


@given(SHAPES, st.integers(1, 4))
def test_every_pair_of_racks_is_probed_and_within_a_rack_every_pair_of_nodes(
    shape: dict[tuple[str, int], int], few: int
) -> None:
    topology = Topology(members(shape), Rules(between_zones=few))
    count = len(topology.racks)
    assert len(rack_pairs(topology)) == count * (count - 1) // 2
    assert topology.uncovered() == 0
    inside = {(a.name, b.name) for a, b in topology.pairs() if a.rack_id == b.rack_id}
    assert len(inside) == sum(size * (size - 1) for size in shape.values())


@given(SHAPES, st.randoms())
def test_the_order_of_arrival_changes_nothing(
    shape: dict[tuple[str, int], int], chance: random.Random
) -> None:
    arrived = members(shape)
    first = all_lists(Topology(arrived))
    chance.shuffle(arrived)
    assert all_lists(Topology(arrived)) == first


@given(SHAPES, st.integers(1, 12), st.integers(1, 3))
def test_no_list_is_too_long_or_names_anybody_twice_or_its_owner(
    shape: dict[tuple[str, int], int], most: int, few: int
) -> None:
    topology = Topology(members(shape), Rules(most, few))
    for name, ties in all_lists(topology).items():
        targets = [each.name for tie in ties for each in tie.members]
        assert len(targets) <= most
        assert len(set(targets)) == len(targets)
        assert name not in targets


@given(SHAPES, st.integers(1, 12))
def test_thinned_lists_leave_no_pair_of_racks_alone_while_there_is_room(
    shape: dict[tuple[str, int], int], most: int
) -> None:
    topology = Topology(members(shape), Rules(most))
    count = len(topology.racks)
    missing = count * (count - 1) // 2 - len(rack_pairs(topology))
    assert missing == topology.uncovered()
    smallest = min(shape.values())
    if most * smallest >= count:  # one rack's agents could probe half of the others, twice over
        assert missing == 0


@given(SHAPES, st.data())
def test_a_topology_made_from_the_last_one_is_the_one_made_anew(
    shape: dict[tuple[str, int], int], data: st.DataObject
) -> None:
    everybody = members(shape)
    before = Topology(everybody, Rules(8))
    all_lists(before)
    left = data.draw(st.lists(st.sampled_from(everybody), unique=True))
    assert all_lists(Topology(left, Rules(8), before)) == all_lists(Topology(left, Rules(8)))


def test_between_racks_of_a_zone_the_i_th_probes_the_i_th_and_is_probed_by_it() -> None:
    topology = Topology(even(1, 4, 6))
    across = [(a, b) for a, b in topology.pairs() if a.rack_id != b.rack_id]
    assert len(across) == 4 * 3 * 6
    slots = {name: topology.racks[m.rack_id].slot_of[name] for m, name in named(topology)}
    assert all(slots[a.name] == slots[b.name] for a, b in across)


def named(topology: Topology) -> list[tuple[Member, str]]:
    return [(topology.member(name), name) for name in topology.names]


@pytest.mark.parametrize("few", [1, 2, 3])
def test_between_zones_a_few_of_each_rack_probe_each_rack(few: int) -> None:
    topology = Topology(even(3, 4, 10), Rules(between_zones=few))
    sources: dict[tuple[RackId, RackId], set[str]] = defaultdict(set)
    for a, b in topology.pairs():
        if a.zone != b.zone:
            sources[a.rack_id, b.rack_id].add(a.name)
    assert len(sources) == 12 * 8
    assert {len(names) for names in sources.values()} == {few}


@pytest.mark.parametrize("most", [2500, 60, 40])
def test_loads_are_even_within_a_tenth_out_and_in(most: int) -> None:
    topology = Topology(even(3, 20, 40), Rules(most))
    load = Counter(a.name for a, _ in topology.pairs())
    into = Counter(b.name for _, b in topology.pairs())
    mean = sum(load.values()) / len(topology)
    for counted in (load, into):
        assert len(counted) == 2400
        assert max(counted.values()) <= 1.1 * mean + 1
        assert min(counted.values()) >= 0.9 * mean - 1


@pytest.mark.parametrize(("most", "share"), [(2500, 0.1), (60, 0.15)])
def test_one_node_less_changes_few_lists(most: int, share: float) -> None:
    everybody = even(3, 20, 40)
    before = all_lists(Topology(everybody, Rules(most)))
    chance = random.Random(5)
    shares = []
    for gone in chance.sample(everybody, 12):
        after = all_lists(Topology([m for m in everybody if m != gone], Rules(most)))
        shares.append(sum(after[name] != before[name] for name in after) / len(before))
    assert sum(shares) / len(shares) < share


def test_a_new_rack_of_one_node_does_not_draw_the_whole_zone_upon_itself() -> None:
    topology = Topology([*even(2, 10, 20), Member("new", "a", "new", ("10.9.9.9",))])
    into = [a for a, b in topology.pairs() if b.name == "new"]
    assert {a.rack_id for a in into} == {id_ for id_ in topology.racks if id_.rack != "new"}
    assert len(into) <= 2 * 10 + 2 * 10


def test_two_members_of_one_host_never_probe_each_other() -> None:
    pods = [Member(f"p{i}", "a", "r", (f"10.0.0.{i}",), f"host-{i // 2}") for i in range(8)]
    for most in (2500, 3):
        topology = Topology(pods, Rules(most))
        assert all(a.host != b.host for a, b in topology.pairs())
        assert {a for a, _ in topology.pairs()} == set(pods)


def test_a_rack_larger_than_its_slots_still_has_every_member_probe_all_racks() -> None:
    topology = Topology(members({("a", 0): 700, ("a", 1): 600}))
    assert all(len(ties) == 2 for ties in all_lists(topology).values())


def test_two_members_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="one name"):
        Topology([Member("a", "", "", ("::1",)), Member("a", "z", "", ("::2",))])


@pytest.mark.parametrize(
    ("id_", "text"), [(("z", "r"), "z/r"), (("", "r"), "r"), (("z", ""), "z"), (("", ""), "all")]
)
def test_a_rack_is_called_by_what_it_has(id_: tuple[str, str], text: str) -> None:
    assert str(RackId(*id_)) == text
