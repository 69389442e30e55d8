"""The mesh, read again and again, and served: /mesh, /mesh.json, and what was named as metrics.

A reading is made in a thread and replaced as a whole; pages only show the last one.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec
from prometheus_client import Metric
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from exporter.clock import Clock
from exporter.metrics.table import FastFamily, Shape
from exporter.threads import in_thread
from exporter.web.app import PAGE_HEADERS, Body
from pingmesh.controller_config import MeshConfig
from pingmesh.lists import Lists, address_of, labels_of
from pingmesh.mesh import Report
from pingmesh.mesh_prometheus import Prometheus
from pingmesh.mesh_pull import Pulled
from pingmesh.mesh_reading import Reading, as_json, make_reading
from pingmesh.mesh_results import Asked, Results
from pingmesh.pages.mesh import Asking, NoSuchPlace, choose, mesh_page

_FAULTS = Shape(
    "gauge",
    "kernmesh_mesh_fault",
    "1: the last reading of the mesh names this fault; `members` are joined by a space.",
    ["kind", "members"],
)
_AGENTS = Shape(
    "gauge",
    "kernmesh_mesh_agents",
    "Agents that the last reading of the mesh has results of (heard), or not (silent).",
    ["state"],
)
_CELLS = Shape(
    "gauge",
    "kernmesh_mesh_rack_pairs",
    "Ordered pairs of racks by the colour that the last reading of the mesh gave them.",
    ["colour"],
)
_STAMP = Shape("gauge", "kernmesh_mesh_reading_timestamp_seconds", "When the mesh was read last.")
_TOOK = Shape(
    "gauge", "kernmesh_mesh_reading_seconds", "Time that the last reading took, results included."
)
_UP = Shape("gauge", "kernmesh_mesh_results_up", "Whether results could be had at all.")

log = logging.getLogger(__name__)


class MeshWatch:
    """`lists()` are the current ones; `stale()` is why members may be out of date."""

    def __init__(
        self,
        config: MeshConfig,
        lists: Callable[[], Lists | None],
        stale: Callable[[], str | None],
        clock: Clock,
        version: str,
    ) -> None:
        self._config = config
        self._lists = lists
        self._stale = stale
        self._clock = clock
        self._version = version
        self._results: Results | None = None
        self._anew = asyncio.Event()
        self._took: float | None = None
        self.reading: Reading | None = None

    def configure(self, config: MeshConfig) -> None:
        """What is different begins from nothing."""
        if config != self._config:
            self._config = config
            self._anew.set()

    async def run(self) -> None:
        while True:
            self._anew.clear()
            config = self._config
            self._results = self._source(config)
            self.reading, self._took = None, None
            try:
                while not self._anew.is_set():
                    if config.enabled:
                        await self._read(config, self._results)
                    try:
                        async with asyncio.timeout(config.every):
                            await self._anew.wait()
                    except TimeoutError:
                        continue
            finally:
                await self._results.close()

    def _source(self, config: MeshConfig) -> Results:
        if config.prometheus is not None:
            return Prometheus(config.prometheus, config)
        return Pulled(config, self._clock)

    async def _read(self, config: MeshConfig, results: Results) -> None:
        lists = self._lists()
        if lists is None:
            return
        started = self._clock.monotonic()
        asked = await in_thread(lambda: _asked(lists), "mesh")
        try:
            reports = await results.read(asked)
            found = await in_thread(
                lambda: self._reading(config, results, lists, asked.addresses, reports), "mesh"
            )
        except Exception as error:  # whatever it is, pinglists are served on
            log.error("the mesh could not be read", exc_info=error)
            return
        self._took = self._clock.monotonic() - started
        before = {(f.kind, f.members) for f in self.reading.faults} if self.reading else set()
        for fault in found.faults:
            if (fault.kind, fault.members) not in before:
                log.warning("%s %s: %s", fault.kind, " ".join(fault.members), fault.evidence)
        if reports or self.reading is not None or results.problem:
            self.reading = found

    def _reading(
        self,
        config: MeshConfig,
        results: Results,
        lists: Lists,
        addresses: Mapping[str, str],
        reports: Mapping[str, Report],
    ) -> Reading:
        return make_reading(
            at=self._clock.wall(),
            window=float(config.window),
            origin="Prometheus" if config.prometheus else "the agents' metrics",
            problem=results.problem,
            topology=lists.topology,
            addresses=addresses,
            thresholds=config.thresholds,
            reports=reports,
        )

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", lambda _: RedirectResponse("/mesh", 307)),
            Route("/mesh", self._page),
            Route("/mesh.json", self._json),
        ]

    async def _page(self, request: Request) -> Response:
        reading, stale = self.reading, self._stale()

        def render() -> str:
            sheet = choose(reading, _asking(request))[1] if reading else None
            return mesh_page(reading, sheet, stale, self._version)

        try:
            page = await in_thread(render, "page")
        except NoSuchPlace as error:
            return PlainTextResponse(f"{error.args[0]}\n", 404)
        return Body(page.encode(), headers=PAGE_HEADERS, media_type="text/html")

    async def _json(self, request: Request) -> Response:
        reading, stale = self.reading, self._stale()
        if reading is None:
            text = "the mesh was not read yet\n"
            return PlainTextResponse(text, 503, headers={"retry-after": "30"})

        def render() -> bytes:
            matrix = choose(reading, _asking(request))[0]
            return msgspec.json.encode(as_json(reading, matrix, stale))

        try:
            body = await in_thread(render, "page")
        except NoSuchPlace as error:
            return PlainTextResponse(f"{error.args[0]}\n", 404)
        return Body(body, headers={"cache-control": "no-store"}, media_type="application/json")

    def collect(self) -> Iterable[Metric]:
        reading = self.reading
        if reading is None:
            return
        yield FastFamily.of(_STAMP, {(): reading.at})
        yield FastFamily.of(_UP, {(): float(reading.problem is None)})
        if self._took is not None:
            yield FastFamily.of(_TOOK, {(): self._took})
        agents = {("heard",): len(reading.reports), ("silent",): len(reading.silent)}
        yield FastFamily.of(_AGENTS, {state: float(count) for state, count in agents.items()})
        colours = Counter(cell.colour for line in reading.racks.cells for cell in line)
        yield FastFamily.of(_CELLS, {(colour,): float(n) for colour, n in colours.items()})
        if reading.faults:
            yield FastFamily.of(
                _FAULTS, {(f.kind, " ".join(f.members)): 1.0 for f in reading.faults}
            )


def _asked(lists: Lists) -> Asked:
    topology, shared = lists.topology, lists.shared
    racks = {}
    for id_ in topology.racks:
        labels = labels_of(id_)
        racks[labels.get("zone", ""), labels.get("rack", "")] = id_
    addresses = {name: address_of(topology.member(name), shared.setting) for name in topology.names}
    return Asked(addresses, racks, shared.probing.probe)


def _asking(request: Request) -> Asking:
    query = request.query_params
    return Asking(*(query.get(key) for key in Asking._fields))
