"""What the labeller costs: a round in which nothing changes, polling 5,000 agents, memory.

Agents are 5,000 addresses of the loopback behind one server in a process of its own; the labeller's
side is what `kernmesh labeller` runs.
"""

import asyncio
import json
import multiprocessing
import os
import ssl
import subprocess
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import median
from typing import cast

from benchmarks.pressure_simulation.memory import labeller_megabytes
from benchmarks.pressure_simulation.world import World
from benchmarks.tables import NO_GOAL, Table, at_most
from exporter.config import Duration
from exporter.config.client import ClientTls
from exporter.kube.api import KubeApi
from exporter.kube.cache import Change
from exporter.labeller.agent_source import AgentSource, Place
from exporter.labeller.config import Agents
from exporter.labeller.fleet import Fleet
from exporter.labeller.keeper import Keeper
from exporter.labeller.nodes import MANAGER, reduced
from exporter.pressure.levels import Settings
from exporter.pressure.marks import Marks
from exporter.pressure.writer import Writer
from exporter.testing import FakeClock

NODES, ROUNDS, TLS_ROUNDS = 5000, 5, 2
PATIENCE = Duration("1m")
"""A busy machine makes a round longer, and loses nobody of it."""


class _Agent(asyncio.Protocol):
    """Answers like an agent, as cheaply as can be: it shares the machine with what is measured."""

    statistics = b""
    interference = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.statistics if b"/statistics" in data else self.interference)


def _serve(ready: Connection, pair: str) -> None:
    random = Random(1)
    names = [f"{what}_usage_{how}" for what in ("cpu", "mem") for how in ("active", "avg_5m")]
    names += [f"{what}_usage_max_avg_{how}" for what in ("cpu", "mem") for how in ("1h", "1d")]

    def answer(body: object) -> bytes:
        text = json.dumps(body).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(text)}"
        return head.encode() + b"\r\n\r\n" + text

    _Agent.statistics = answer({name: round(random.uniform(5, 60), 2) for name in names})
    _Agent.interference = answer({"schedule": False, "evictions": []})

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Agent, "0.0.0.0", 0, backlog=4096)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        secure = await loop.create_server(_Agent, "0.0.0.0", 0, backlog=4096, ssl=context)
        ready.send([each.sockets[0].getsockname()[1] for each in (server, secure)])
        await asyncio.Event().wait()

    asyncio.run(main())


def _nodes(keeper: Keeper, world: World) -> None:
    for name, node in world.nodes.items():
        index = int(name.rpartition("-")[2])
        address = f"127.1.{index // 250}.{index % 250 + 1}"
        full = {**node, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}
        known = reduced(full, Marks())
        keeper.changed(Change("added", ("", name), None, known))


async def _measure(
    port: int, agents: Agents, count: int
) -> tuple[list[float], list[float], list[float], int]:
    clock, settings = FakeClock(), Settings(80.0, 79.0, 5, 4, 20.0)
    world = World(clock, NODES)
    api = cast(KubeApi, world)
    writer = Writer(api, clock, MANAGER, asyncio.sleep)
    fleet = Fleet({"cpu": settings, "mem": settings, "schedule": settings})
    keeper = Keeper(fleet, Marks(heartbeat=False), writer, api, clock, 600.0)
    _nodes(keeper, world)
    keeper.begin()
    gauges = {"cpu": "cpu_usage_active", "mem": "mem_usage_active"}
    source = AgentSource(agents, gauges)
    places = {name: Place(known.address, port) for name, known in keeper.known.items()}
    spent, lasted, rounds = list[float](), list[float](), list[float]()
    for _ in range(count):
        began, wall = time.process_time(), time.monotonic()
        readings = await source.read(places)
        spent.append(time.process_time() - began)
        lasted.append(time.monotonic() - wall)
        assert len(readings) == NODES, source.reasons
        clock.advance(10.0)
        began = time.process_time()
        keeper.round(fleet.advance(clock.monotonic(), keeper.known, readings))
        rounds.append(time.process_time() - began)
    return spent, lasted, rounds[1:], world.applies


def _pair(folder: Path) -> Path:
    """Certificate and key of all agents."""
    file = folder / "agents.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    name = ("-subj", "/CN=agents", "-addext", "subjectAltName=DNS:kernmesh-agent")
    files = ("-keyout", str(folder / "key"), "-out", str(folder / "cert"))
    subprocess.run([*words.split(), *name, *files], check=True, capture_output=True)
    file.write_text((folder / "cert").read_text() + (folder / "key").read_text())
    return file


def cost_table() -> Table:
    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        pair = str(_pair(Path(folder)))
        fork = multiprocessing.get_context("fork")
        server = fork.Process(target=_serve, args=(theirs, pair))
        server.start()
        try:
            plain, secure = ours.recv()
            tls = ClientTls(ca_file=pair, server_name="kernmesh-agent")
            over_tls = Agents(timeout=PATIENCE, scheme="https", tls=tls)
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores[:1])
            spent, lasted, rounds, writes = asyncio.run(
                _measure(plain, Agents(timeout=PATIENCE), ROUNDS)
            )
            tls_spent, tls_lasted, _, _ = asyncio.run(_measure(secure, over_tls, TLS_ROUNDS))
            os.sched_setaffinity(0, cores)
            resident, peak = labeller_megabytes(NODES, plain)
        finally:
            server.terminate()
            server.join()
    quiet, polled, over = median(rounds), median(lasted), median(tls_lasted)
    rows = (
        (
            "a round in which nothing changes, CPU",
            f"{quiet * 1000:.0f} ms",
            *at_most(quiet, 0.5, "s"),
        ),
        ("writes of it", str(writes), *at_most(writes, 0)),
        ("polling every agent, CPU", f"{median(spent):.1f} s", *NO_GOAL),
        ("polling every agent, time, on one core", f"{polled:.1f} s", *at_most(polled, 15, "s")),
        ("the same over TLS, CPU", f"{median(tls_spent):.1f} s", *NO_GOAL),
        ("the same over TLS, time, on one core", f"{over:.1f} s", *at_most(over, 15, "s")),
        (
            "RSS of kernmesh labeller; at its highest",
            f"{resident:.0f}; {peak:.0f} MB",
            *at_most(peak, 120, "MB"),
        ),
    )
    notes = (
        f"{NODES} nodes, 3 resources, medians of {ROUNDS} rounds (TLS: {TLS_ROUNDS}); agents "
        "answer /statistics and /interference over real HTTP, a connection each (TLS 1.3, P-256, "
        "a whole handshake each). RSS after three rounds, against the tests' API server, with 30 "
        "images a node.",
    )
    return Table("What it costs", ("", "measured", "goal", "met"), rows, notes)
