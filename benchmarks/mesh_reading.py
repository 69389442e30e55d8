"""What it costs the controller to read a mesh of 10,000 nodes, once results are there:
`python -m benchmarks mesh_reading` (a minute).

The mesh is the controller's benchmark's; reports are made up: a probe in 12,000 is lost, and in the
second reading a node is down and a rack loses a third of what leaves or enters it.
"""

import random
import time
from collections.abc import Collection, Iterator

from benchmarks.big_mesh import SIZE, members
from benchmarks.process import resident_mb
from benchmarks.tables import NO_GOALS, Table, show
from pingmesh.controller_config import Thresholds
from pingmesh.mesh import Report, Tally
from pingmesh.mesh_reading import make_reading
from pingmesh.topology import RackId, Ties, Topology

ROUNDS = 60
SLOW = ((0.0001, 0.0), (0.00025, 50.0), (0.0005, 9.0), (0.001, 1.0))
LOST = 0.005
"""The share of an agent's racks that one probe was lost to."""


def reports(topology: Topology, down: Collection[str], lossy: RackId | None) -> dict[str, Report]:
    rng = random.Random(1)

    def tally(source: RackId, tie: Ties) -> Tally:
        sent = float(ROUNDS * len(tie.members))
        lost = float(ROUNDS * sum(member.name in down for member in tie.members))
        if source != tie.rack and lossy in (source, tie.rack):
            lost = max(lost, sent / 3)
        if not lost and rng.random() < LOST:
            lost = 1.0
        return Tally(sent, lost, SLOW)

    found = {}
    for name in topology.names:
        own = topology.member(name)
        if name not in down:
            racks = {tie.rack: tally(own.rack_id, tie) for tie in topology.ties(name)}
            probed = (member for tie in topology.ties(name) for member in tie.members)
            failing = {m.addresses[0]: ROUNDS for m in probed if m.name in down}
            found[name] = Report(name, racks, ROUNDS, failing, racks)
    return found


def tables() -> Iterator[Table]:
    topology = Topology(members())
    addresses = {name: topology.member(name).addresses[0] for name in topology.names}
    names = sorted(topology.names)
    lossy = topology.member(names[-1]).rack_id
    rows = []
    for what, down, rack in (
        ("well", (), None),
        ("a node down, a rack lossy", names[:1], lossy),
    ):
        found = reports(topology, down, rack)
        began, before = time.process_time(), resident_mb()
        reading = make_reading(
            at=0.0,
            window=600.0,
            origin="",
            problem=None,
            topology=topology,
            addresses=addresses,
            thresholds=Thresholds(),
            reports=found,
        )
        spent = time.process_time() - began
        named = ", ".join(f"{f.kind} {' '.join(f.members)}" for f in reading.faults) or "nothing"
        rows.append((what, f"{spent:.1f} s", f"{before:.0f} MB", f"{resident_mb():.0f} MB", named))
        del reading, found
    yield Table(
        "One reading of a 10,000-node mesh",
        ("the mesh", "CPU", "RSS with results", "RSS after", "named"),
        tuple(rows),
        (f"{SIZE}. {NO_GOALS}",),
    )


if __name__ == "__main__":
    show(tables())
