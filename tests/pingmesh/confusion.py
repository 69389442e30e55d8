"""Meshes with one fault of a known kind, seeded, and what is read out of them.

`python -m tests.pingmesh.confusion [SEEDS]` prints the confusion table. A scenario is read as a
controller reads agents: counts by target rack, and which targets failed in every third round.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from pingmesh.controller_config import Thresholds
from pingmesh.mesh import Report, Tally, rows
from pingmesh.metrics import BOUNDS
from pingmesh.patterns import Fault, faults
from pingmesh.topology import Member, RackId, Topology

KINDS = (
    "none",
    "node down",
    "node lossy",
    "rack uplink",
    "rack isolated",
    "zone pair",
    "black hole",
)
ROUNDS = 60
EVERY = 3


class Mesh(NamedTuple):
    topology: Topology
    reports: dict[str, Report]
    addresses: dict[str, str]

    @property
    def silent(self) -> set[str]:
        return set(self.topology.names) - self.reports.keys()


class Truth(NamedTuple):
    """`loss(source, target)` is the fault's share; `silent` agents cannot be asked."""

    kind: str
    members: tuple[str, ...]
    loss: Callable[[Member, Member], float]
    silent: frozenset[str] = frozenset()


def members(zones: int, racks: int, nodes: int) -> list[Member]:
    return [
        Member(f"z{z}r{r}n{n}", f"z{z}", f"r{r}", (f"10.{z}.{r}.{n}",))
        for z in range(zones)
        for r in range(racks)
        for n in range(nodes)
    ]


def truth(kind: str, everybody: list[Member], topology: Topology, chance: random.Random) -> Truth:
    """One fault of this kind, somewhere."""
    node = chance.choice(everybody)
    rack = node.rack_id
    share = chance.uniform(0.05, 0.5)

    def crosses(a: Member, b: Member) -> bool:
        return a.rack_id != b.rack_id and rack in (a.rack_id, b.rack_id)

    match kind:
        case "node down":
            return Truth(
                kind, (node.name,), lambda a, b: float(node in (a, b)), frozenset({node.name})
            )
        case "node lossy":
            return Truth(kind, (node.name,), lambda a, b: share if node in (a, b) else 0.0)
        case "rack uplink":
            return Truth(kind, (str(rack),), lambda a, b: share if crosses(a, b) else 0.0)
        case "rack isolated":
            inside = frozenset(m.name for m in everybody if m.rack_id == rack)
            heard = chance.random() < 0.3  # over a network for management, say
            return Truth(
                kind,
                (str(rack),),
                lambda a, b: float(crosses(a, b)),
                frozenset() if heard else inside,
            )
        case "zone pair":
            pair = tuple(sorted(chance.sample(sorted({m.zone for m in everybody}), 2)))
            rate = chance.choice((share, 1.0))
            return Truth(
                kind, pair, lambda a, b: rate if tuple(sorted((a.zone, b.zone))) == pair else 0.0
            )
        case "black hole":
            first = chance.choice([(a, b) for a, b in topology.pairs() if node in (a, b)])
            return Truth(kind, (first[0].name, first[1].name), lambda a, b: float((a, b) == first))
    return Truth("none", (), lambda a, b: 0.0)


def simulate(topology: Topology, fault: Truth, chance: random.Random, rtt: float = 0.0004) -> Mesh:
    """A window of rounds over every pair of every list."""
    background = chance.uniform(0.0, 5e-4)
    reports = {}
    bucket = next(bound for bound in BOUNDS if bound >= rtt)
    for name in sorted(set(topology.names) - fault.silent):
        source = topology.member(name)
        racks: dict[RackId, Tally] = {}
        failing: Counter[str] = Counter()
        for tie in topology.ties(name):
            lost = 0
            for target in tie.members:
                rate = 1 - (1 - background) * (1 - fault.loss(source, target))
                for turn in range(ROUNDS):
                    if chance.random() < rate:
                        lost += 1
                        failing[target.addresses[0]] += turn % EVERY == 0
            sent = ROUNDS * len(tie.members)
            buckets = tuple((b, float(sent - lost) * (b == bucket)) for b in BOUNDS)
            racks[tie.rack] = Tally(sent, lost, (*buckets, (float("inf"), 0.0)))
        reports[name] = Report(name, racks, ROUNDS // EVERY, dict(failing))
    return Mesh(topology, reports, {n: topology.member(n).addresses[0] for n in topology.names})


def read(mesh: Mesh) -> list[Fault]:
    return faults(rows(mesh.topology, mesh.reports, mesh.addresses, Thresholds()), mesh.silent)


def scenario(kind: str, seed: int, shape: tuple[int, int, int] = (3, 2, 3)) -> tuple[Truth, Mesh]:
    chance = random.Random(f"{kind} {seed}")
    everybody = members(*shape)
    topology = Topology(everybody)
    fault = truth(kind, everybody, topology, chance)
    return fault, simulate(topology, fault, chance)


def verdict(fault: Truth, found: list[Fault]) -> str:
    """The kind that was named, with ! where its member is another's; several with +."""
    if not found:
        return "none"
    words = (
        each.kind if each.members == fault.members or each.kind != fault.kind else f"{each.kind}!"
        for each in found
    )
    return " + ".join(sorted(words))


def table(seeds: int, shape: tuple[int, int, int] = (3, 2, 3)) -> dict[str, Counter[str]]:
    return {
        kind: Counter(
            verdict(fault, read(mesh))
            for fault, mesh in (scenario(kind, seed, shape) for seed in range(seeds))
        )
        for kind in KINDS
    }


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    for shape in ((3, 2, 3), (2, 4, 8)):
        print("{} zones × {} racks × {} nodes".format(*shape))
        for kind, counted in table(seeds, shape).items():
            read_as = ", ".join(f"{count} {name}" for name, count in counted.most_common())
            print(f"  {kind:14} read as: {read_as}")


if __name__ == "__main__":
    main()
