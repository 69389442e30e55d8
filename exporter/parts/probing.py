"""Pingmesh as a part of the agent: probes of a pinglist, /probe, the UDP responder."""

from collections.abc import Iterable, Sequence

from starlette.routing import BaseRoute

from exporter.clock import Clock
from exporter.config import AgentConfig
from exporter.memory import give_back
from exporter.metrics.registry import Named
from exporter.pages.section import Section
from exporter.parts.part import Part
from exporter.role import Start
from pingmesh.ondemand import MODULES
from pingmesh.start import addresses, make_mesh, probe_page


class ProbingPart(Part):
    def __init__(self, config: AgentConfig, clock: Clock) -> None:
        """Raises KernmeshError."""
        self._config = config.pingmesh
        self._mesh = make_mesh(
            clock,
            self._config,
            node=config.pressure.node,
            tidy=give_back,
        )

    def collectors(self) -> Iterable[Named]:
        yield "pingmesh", self._mesh

    def routes(self) -> Sequence[BaseRoute]:
        return (probe_page(self._config.allow, self._config.deny),)

    def sections(self) -> Iterable[Section]:
        return self._mesh.sections()

    def modules(self) -> tuple[str, ...]:
        """Of /probe; empty where nothing is allowed."""
        return tuple(MODULES) if self._config.allow else ()

    async def run(self, start: Start) -> None:
        if self._config.responder:
            self._mesh.respond(addresses(start.sockets))
        await self._mesh.run()

    def needs_restart(self, before: AgentConfig, now: AgentConfig) -> Iterable[str]:
        if before.pingmesh != now.pingmesh:
            yield "pingmesh"

    def problems(self) -> Iterable[str]:
        return self._mesh.problems()
