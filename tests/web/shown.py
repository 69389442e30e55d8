"""Every page of our own, served as roles serve it, with more to show than a quiet machine has."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from exporter.interference.answer import (
    FindingJson,
    IncidentJson,
    InterferenceJson,
    OutcomeJson,
    SubjectJson,
    SuspectJson,
)
from exporter.interference.page import interference_page
from exporter.interference.section import section
from exporter.labeller import page as labeller
from exporter.pages.landing import (
    DEFAULT_LINKS,
    CollectorRow,
    ProgramRow,
    Status,
    landing_page,
)
from exporter.pages.section import Cell, Chart, Section
from exporter.testing import FakeClock
from exporter.web.app import page
from pingmesh.controller_config import MeshConfig, Thresholds
from pingmesh.guard import Guard
from pingmesh.mesh_reading import Reading, make_reading
from pingmesh.mesh_watch import MeshWatch
from pingmesh.ondemand import MODULES, probe_route
from tests.pingmesh.confusion import Mesh, scenario
from tests.web.serving import WATCHDOG_SECONDS, serving

WAVE = tuple(None if 40 <= x < 55 else 30 + 25 * math.sin(x / 7) for x in range(120))
UNKNOWN = (None,) * 120
CHARTS = (
    Chart("CPU", 41.2, {"last hour": WAVE, "last 24 hours": (*UNKNOWN[:100], *WAVE[:20])}),
    Chart("Memory", 0.04, {"last hour": (0.04,) * 120, "last 24 hours": UNKNOWN}),
    Chart("Network, the busiest link", None, {"last hour": UNKNOWN, "last 24 hours": UNKNOWN}),
)
INCIDENT = IncidentJson(
    run="r1",
    rule="cpu wait of online work",
    severity="critical",
    state="firing",
    subject=SubjectJson("container", "/kubepods/pod1", "shop/checkout-7d9f", "u1", "online"),
    began=1_700_000_000.0,
    finding=FindingJson("psi", 0.42, 0.2, "ratio", "waits for a CPU 42 % of the time, over 20 %"),
    suspects=(
        SuspectJson(
            SubjectJson("container", "/kubepods/pod2", "batch/train-0", "u2", "offline"),
            *(0.93, "cpu", 1200.0, "its CPU and the wait go together (0.93 of 1)"),
        ),
    ),
    actions=(OutcomeJson("adjust", "dry_run", "would take 0.5 CPUs from batch/train-0"),),
)
INTERFERENCE = InterferenceJson(
    *(1, "node-a", True, True, 1_700_000_090.0, 7, True, {"r1": "checkout suffers"}, ()),
    *((INCIDENT,), (), ("a rule asks for what is not kept",)),
)
STATUS = Status(
    version="1.2.3",
    node="node-a",
    uptime_seconds=3725,
    not_ready=None,
    programs=(
        ProgramRow("timers", "tp_btf/timer_start", events=1203.6, cost=0.00321),
        ProgramRow("biolatency", None, "block_rq_issue: no such tracepoint"),
        ProgramRow("oomkill", "raw_tp/mark_victim", notes=("scope is unknown here",), events=0.0),
    ),
    collectors=(
        CollectorRow("usage", True, "2 series"),
        CollectorRow("node", True),
        CollectorRow("process", False, "permission denied"),
        CollectorRow("gc", None),
    ),
    links=DEFAULT_LINKS,
    problems=("the last reload was refused and changed nothing: agent.yaml:3: no such key",),
    sections=(
        section(INTERFERENCE, 1_700_000_090.0),
        Section(
            "pressure",
            "Pressure",
            ("Resource", "Level", "Now"),
            (("cpu", Cell("pressed", "off"), "91.20 %"), ("mem", Cell("calm", "on"), "40.10 %")),
            urgent=True,
        ),
        Section("pairs", "Worst pairs", ("Target", "Of", "Result"), (), empty="All answered."),
    ),
    modules=tuple(MODULES),
)
EMPTY = Status("1.2.3", "node-b", 0.2, "programs are being loaded", (), (), DEFAULT_LINKS)


def reading(mesh: Mesh, at: float = 1_700_000_000.0) -> Reading:
    reports = {
        name: each._replace(recent=each.racks) for name, each in mesh.reports.items()
    }  # so that what is lost is lost now
    return make_reading(
        at=at,
        window=600.0,
        origin="the agents' metrics",
        problem=None,
        topology=mesh.topology,
        addresses=mesh.addresses,
        thresholds=Thresholds(),
        reports=reports,
    )


def watch(path: str, mesh: Mesh | None) -> MeshWatch:
    """As if it had read this mesh several times."""
    made = MeshWatch(path, MeshConfig(), lambda: None, lambda: None, FakeClock(), "1.2.3")
    if mesh is not None:
        for turn in range(5):
            made.take(reading(mesh, 1_700_000_000.0 + 30 * turn))
    return made


def fixed(path: str, html: Callable[[], str]) -> BaseRoute:
    async def show(_: Request) -> Response:
        return page(html())

    return Route(path, show)


def mesh_paths() -> dict[str, str]:
    """Pages of the controller by name: each kind of zoom."""
    fault, _ = scenario("rack uplink", 1)
    rack = fault.members[0].replace("/", "%2F")
    other = next(r for r in ("z0%2Fr0", "z1%2Fr1") if r != rack)
    node, peer = rack.replace("%2F", "") + "n0", other.replace("%2F", "") + "n0"
    return {
        "mesh": "/mesh",
        "mesh-nodes": f"/mesh?rack={rack}&to={other}",
        "mesh-pair": f"/mesh?node={node}&peer={peer}",
        "mesh-down": "/down",
        "mesh-unread": "/unread",
    }


PAGES = {
    "agent": "/agent",
    "agent-new": "/new",
    "interference": "/interference",
    "labeller": "/labeller",
    "probe": "/probe?target=127.0.0.1&module=ping",
    "probe-failed": "/probe?target=127.0.0.1:1&module=",
    "probe-form": "/probe",
    **mesh_paths(),
}
LABELLER = labeller.View(
    *("1.2.3", "leading", True, None, 5000, 3, 4.2),
    (labeller.Row("cpu", 4990, 8, 2), labeller.Row("mem", 5000, 0, 0)),
    ("node-1", "node-2"),
    ("agents of 2 nodes do not answer",),
)


def routes() -> list[BaseRoute]:
    isolated = scenario("node down", 2)[1]
    named = labeller.routes(lambda: LABELLER, tuple)
    front = next(route for route in named if isinstance(route, Route) and route.path == "/")
    return [
        fixed("/agent", lambda: landing_page(STATUS, CHARTS)),
        fixed("/new", lambda: landing_page(EMPTY)),
        fixed("/interference", lambda: interference_page(INTERFERENCE)),
        Route("/labeller", front.endpoint),
        probe_route(Guard(["loopback"])),
        *watch("/mesh", scenario("rack uplink", 1)[1]).routes(),
        *watch("/down", isolated).routes(),
        *watch("/unread", None).routes(),
    ]


@contextmanager
def shown() -> Iterator[str]:
    """Serves them all; the URL."""
    ready, stop = threading.Event(), asyncio.Event()
    where: list[tuple[str, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with serving(routes=routes(), others=64) as agent:
            where.append((f"http://127.0.0.1:{agent.port}", asyncio.get_running_loop()))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(WATCHDOG_SECONDS)
    url, loop = where[0]
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(WATCHDOG_SECONDS)
