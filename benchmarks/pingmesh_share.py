"""What pingmesh takes of the nodes of a 10,000-node mesh, from probes that are counted and CPU that
is measured: `python -m benchmarks pingmesh_share` (25 s).

The mesh is the controller's benchmark's: 3 zones, 200 racks of 50. As many targets as its median
agent has are probed over loopback, in this process; others' probes of a node its kernel answers.
"""

import asyncio
import resource
import socket
from collections import Counter
from statistics import median

from benchmarks.controller import members
from benchmarks.tables import Table, markdown
from exporter.clock import SystemClock
from pingmesh.guard import Guard
from pingmesh.packetlane import PacketLane, Settings
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import probes
from pingmesh.probes.packets import echo_request
from pingmesh.resolve import Resolver, SystemLookup
from pingmesh.topology import Topology

INTERVAL = 10.0
"""The shortest that there is: the default of pinglists is 60 s, which costs a sixth."""
ROUNDS = 2
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


async def cpu_per_round(count: int) -> float:
    """Seconds of a core, of this process, that a round over so many targets takes."""
    text = ", ".join(f"127.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(1, count + 1))
    spent: list[float] = []
    done = asyncio.Event()
    lost = 0

    def publish(_: object, flight: object, *__: object) -> None:
        nonlocal lost
        lost += len(flight.reasons)  # type: ignore[attr-defined] # a Flight
        usage = resource.getrusage(resource.RUSAGE_SELF)
        spent.append(usage.ru_utime + usage.ru_stime)
        if len(spent) > ROUNDS:
            done.set()

    lane = PacketLane(
        probes(targets(read_pinglist(f"mesh: {{a: {{ips: [{text}]}}}}".encode()))),
        Settings(INTERVAL, 1.0, 1e6),
        Guard(),
        Resolver(SystemClock(), SystemLookup(), socket.AF_INET),
        publish,
    )
    lane.start()
    await done.wait()
    lane.stop()
    assert lost == 0
    return (spent[-1] - spent[0]) / ROUNDS


def tables() -> list[Table]:
    out, into = loads()
    typical, most = int(median(out)), max(out)
    cpu = asyncio.run(cpu_per_round(typical)) / INTERVAL
    packet = len(echo_request(socket.AF_INET, 0, 1, 0, 0)) + FRAME_BYTES
    rows = []
    for what, size in (("no payload", packet), ("1,000 bytes of payload", packet + 1000)):
        # Out of a node go its requests and its answers to others', as many as come in.
        bits = (most + max(into)) * size * 8 / INTERVAL
        rows.append((f"ICMP, {what}: out of the busiest node", f"{bits / 1000:.0f} kbit/s"))
        rows.append((f"… of a link of {LINK_BITS / 1e9:.0f} Gbit/s", f"1/{LINK_BITS / bits:,.0f}"))
    return [
        Table(
            "Share of a 10,000-node mesh",
            ("probing every 10 s", "measured"),
            (
                ("targets of an agent: median, most", f"{typical}, {most}"),
                ("probed by: median, most", f"{int(median(into))}, {max(into)}"),
                ("probes per second of the whole mesh", f"{sum(out) / INTERVAL:,.0f}"),
                *rows,
                ("CPU of the median agent's probing", f"{cpu:.2%} of a core"),
                (f"… of a node of {CORES} cores", f"1/{CORES / cpu:,.0f}"),
            ),
        )
    ]


def main() -> None:
    for table in tables():
        print(markdown(table))


if __name__ == "__main__":
    main()
