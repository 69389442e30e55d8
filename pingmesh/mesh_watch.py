"""Each network's mesh, read again and again, and served: /mesh and /mesh.json, for pods /mesh/pods
and /mesh/pods.json, and what was named as metrics.

A reading is made in a thread and replaced as a whole; pages only show the last one.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from prometheus_client import Metric
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from exporter.clock import Clock
from exporter.metrics.table import FastFamily, Shape
from exporter.pages.section import Link
from exporter.threads import in_thread
from exporter.web.app import Body, page
from pingmesh.controller_config import MeshConfig
from pingmesh.lists import Lists, address_of, labels_of
from pingmesh.mesh import Report
from pingmesh.mesh_past import Past
from pingmesh.mesh_prometheus import Prometheus
from pingmesh.mesh_pull import Pulled
from pingmesh.mesh_reading import Reading, as_json, make_reading
from pingmesh.mesh_results import Asked, Results
from pingmesh.pages.mesh import Asking, NoSuchPlace, choose, mesh_page
from pingmesh.pages.pair import pair_page

_FAULTS = Shape(
    "gauge",
    "kernmesh_mesh_fault",
    "1: the last reading of the mesh names this fault; `members` are joined by a space.",
    ["network", "kind", "members"],
)
_AGENTS = Shape(
    "gauge",
    "kernmesh_mesh_agents",
    "Agents that the last reading of the mesh has results of (heard), or not (silent).",
    ["network", "state"],
)
_CELLS = Shape(
    "gauge",
    "kernmesh_mesh_rack_pairs",
    "Ordered pairs of racks by the colour that the last reading of the mesh gave them.",
    ["network", "colour"],
)
_STAMP = Shape(
    "gauge", "kernmesh_mesh_reading_timestamp_seconds", "When the mesh was read last.", ["network"]
)
_TOOK = Shape(
    "gauge",
    "kernmesh_mesh_reading_seconds",
    "Time that the last reading took, results included.",
    ["network"],
)
_UP = Shape(
    "gauge", "kernmesh_mesh_results_up", "Whether results could be had at all.", ["network"]
)

log = logging.getLogger(__name__)


class MeshWatch:
    """One network's. `lists()` are the current ones, None where there are none; `stale()` is why
    members may be out of date; `path` is where it is served."""

    def __init__(
        self,
        path: str,
        config: MeshConfig,
        lists: Callable[[], Lists | None],
        stale: Callable[[], str | None],
        clock: Clock,
        version: str,
    ) -> None:
        self._path = path
        self._config = config
        self._lists = lists
        self._stale = stale
        self._clock = clock
        self._version = version
        self._anew = asyncio.Event()
        self._took: float | None = None
        self.reading: Reading | None = None
        self._past = Past()
        self.besides: Mapping[str, MeshWatch] = {}
        """The other networks', by name: the page leads to those that have members."""

    def configure(self, config: MeshConfig) -> None:
        """What is different begins from nothing."""
        if config != self._config:
            self._config = config
            self._anew.set()

    async def run(self) -> None:
        while True:
            self._anew.clear()
            config = self._config
            results = self._source(config)
            self.reading, self._took, self._past = None, None, Past()
            try:
                while not self._anew.is_set():
                    if config.enabled:
                        await self._read(config, results)
                    try:
                        async with asyncio.timeout(config.every):
                            await self._anew.wait()
                    except TimeoutError:
                        continue
            finally:
                await results.close()

    def _source(self, config: MeshConfig) -> Results:
        if config.prometheus is not None:
            return Prometheus(config.prometheus, config)
        return Pulled(config, self._clock)

    async def _read(self, config: MeshConfig, results: Results) -> None:
        lists = self._lists()
        if lists is None:
            self.reading = None
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
            self.take(found)

    def take(self, reading: Reading) -> None:
        """Shows this one from now on; those before it are past."""
        self.reading = reading
        self._past.note(reading)

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

    def samples(self) -> Iterator[tuple[Shape, tuple[str, ...], float]]:
        """Of the last reading; nothing before there was one."""
        reading = self.reading
        if reading is None:
            return
        yield _STAMP, (), reading.at
        yield _UP, (), float(reading.problem is None)
        if self._took is not None:
            yield _TOOK, (), self._took
        yield _AGENTS, ("heard",), float(len(reading.reports))
        yield _AGENTS, ("silent",), float(len(reading.silent))
        colours = Counter(cell.colour for line in reading.racks.cells for cell in line)
        for colour, count in colours.items():
            yield _CELLS, (colour,), float(count)
        for fault in reading.faults:
            yield _FAULTS, (fault.kind, " ".join(fault.members)), 1.0

    def routes(self) -> list[BaseRoute]:
        return [
            Route(self._path, self._page),
            Route(f"{self._path}.json", self._json),
        ]

    async def _page(self, request: Request) -> Response:
        reading, stale = self.reading, self._stale()

        asking = _asking(request)

        def render() -> str:
            if reading and (asking.node is not None or asking.peer is not None):
                node, peer = _known(reading, asking.node), _known(reading, asking.peer)
                return pair_page(reading, node, peer, self._past.pair, self._path)
            sheet = choose(reading, asking)[1] if reading else None
            return mesh_page(
                reading, sheet, stale, self._version, f"{self._path}.json", self._others()
            )

        try:
            html = await in_thread(render, "page")
        except NoSuchPlace as error:
            return PlainTextResponse(f"{error.args[0]}\n", 404)
        return page(html)

    def _others(self) -> Sequence[Link]:
        return [
            Link(watch._path, f"The mesh of {network}")
            for network, watch in self.besides.items()
            if watch._lists() is not None
        ]

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


class Meshes:
    """Of all networks, by name: `watches` each begin again when `configure` says something else."""

    def __init__(self, watches: Mapping[str, MeshWatch]) -> None:
        self._watches = watches
        for network, watch in watches.items():
            watch.besides = {name: other for name, other in watches.items() if name != network}

    def configure(self, config: MeshConfig) -> None:
        for watch in self._watches.values():
            watch.configure(config)

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        return [watch.run() for watch in self._watches.values()]

    def routes(self) -> list[BaseRoute]:
        first = Route("/", lambda _: RedirectResponse("/mesh", 307))
        return [first, *(route for watch in self._watches.values() for route in watch.routes())]

    def collect(self) -> Iterable[Metric]:
        rows: dict[int, dict[tuple[str, ...], float]] = {}
        shapes = (_STAMP, _UP, _TOOK, _AGENTS, _CELLS, _FAULTS)
        for network, watch in self._watches.items():
            for shape, labels, value in watch.samples():
                rows.setdefault(shapes.index(shape), {})[network, *labels] = value
        for index, shape in enumerate(shapes):
            if index in rows:
                yield FastFamily.of(shape, rows[index])


def _asked(lists: Lists) -> Asked:
    topology, shared = lists.topology, lists.shared
    racks = {}
    for id_ in topology.racks:
        labels = labels_of(id_)
        racks[labels.get("zone", ""), labels.get("rack", "")] = id_
    addresses = {name: address_of(topology.member(name), shared.setting) for name in topology.names}
    return Asked(addresses, racks, shared.probing.probe)


def _known(reading: Reading, name: str | None) -> str:
    if name is None or name not in reading.topology:
        raise NoSuchPlace(f"no node {name!r} in the mesh")
    return name


def _asking(request: Request) -> Asking:
    query = request.query_params
    return Asking(*(query.get(key) for key in Asking._fields))
