"""What pingmesh takes of the nodes of a 10,000-node mesh, from probes that are counted and CPU that
is measured: `python -m benchmarks pingmesh_share` (25 s).

The mesh is the controller's benchmark's: 3 zones, 200 racks of 50. As many targets as its median
agent has are probed over loopback, in this process; others' probes of a node its kernel answers.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from statistics import fmean, median

from benchmarks.big_mesh import SIZE, members
from benchmarks.rounds import PERIOD, run_rounds
from benchmarks.tables import NO_GOAL, Table, met, show
from pingmesh.probes.packets import echo_request
from pingmesh.topology import Topology

ROUNDS = 2
GOAL = 1000
"""One of so many parts of a node, at most."""
CORES, LINK_BITS = 16, 10e9
"""A node, smaller than most that stand in meshes of 10,000."""
FRAME_BYTES = 20 + 14 + 4 + 8 + 12
"""Of IPv4, Ethernet, its checksum, preamble and gap: what a packet takes of a link."""


def loads() -> tuple[list[int], list[int]]:
    """How many each node probes, and by how many it is probed."""
    topology = Topology(members())
    out = Counter(dict.fromkeys(topology.names, 0))
    into = Counter(out)
    for source, target in topology.pairs():
        out[source.name] += 1
        into[target.name] += 1
    return list(out.values()), list(into.values())


def cpu_per_round(count: int) -> float:
    """Seconds of a core, of this process, that a round over so many targets takes."""
    found = asyncio.run(run_rounds(count, ROUNDS + 1))
    assert found.lost == 0
    return fmean(found.cpu[1:])


def tables() -> Iterator[Table]:
    out, into = loads()
    typical, most = int(median(out)), max(out)
    cpu = cpu_per_round(typical) / PERIOD
    packet = len(echo_request(socket.AF_INET, 0, 1, 0, 0)) + FRAME_BYTES
    rows: list[tuple[str, ...]] = []
    for what, size in (("no payload", packet), ("1,000 bytes of payload", packet + 1000)):
        # Out of a node go its requests and its answers to others', as many as come in.
        bits = (most + max(into)) * size * 8 / PERIOD
        rows.append(
            (f"ICMP, {what}: out of the busiest node", f"{bits / 1e3:.0f} kbit/s", *NO_GOAL)
        )
        rows.append(_share(f"… of a link of {LINK_BITS / 1e9:.0f} Gbit/s", LINK_BITS / bits))
    yield Table(
        "Share of a 10,000-node mesh",
        (f"probing every {PERIOD:g} s", "measured", "goal", "met"),
        (
            ("targets of an agent: median, most", f"{typical}, {most}", *NO_GOAL),
            ("probed by: median, most", f"{int(median(into))}, {max(into)}", *NO_GOAL),
            ("probes per second of the whole mesh", f"{sum(out) / PERIOD:,.0f}", *NO_GOAL),
            *rows,
            ("CPU of the median agent's probing", f"{cpu:.2%} of a core", *NO_GOAL),
            _share(f"… of a node of {CORES} cores", CORES / cpu),
        ),
        (
            f"{SIZE}. The interval is the shortest that there is: the default of pinglists is 60 "
            "s, which costs a sixth.",
        ),
    )


def _share(what: str, parts: float) -> tuple[str, ...]:
    return what, f"1/{parts:,.0f}", f"< 1/{GOAL:,}", met(parts > GOAL)


if __name__ == "__main__":
    show(tables())
