"""Usage of node, pods and jobs over time, as a part of the agent: sampled, kept, shown."""

import asyncio
import platform
from collections.abc import Callable, Iterable, Sequence

from starlette.routing import BaseRoute

from exporter.clock import Clock
from exporter.config import AgentConfig
from exporter.config.agent import Offline
from exporter.hostfs import HostFs
from exporter.metrics.registry import Named
from exporter.pages.section import Chart
from exporter.parts.part import Part
from exporter.role import Start
from exporter.threads import in_thread
from exporter.usage.charts import charts
from exporter.usage.facts import NodeFacts
from exporter.usage.history import History
from exporter.usage.node import node_sources
from exporter.usage.sampler import pause_until
from exporter.usage.series import Source
from exporter.usage.statistics import UsageCollector, statistics_json
from exporter.usage.workloads import Workloads, workloads
from exporter.web.pages import statistics_route


class UsagePart(Part):
    """`history` is what others may read of it, `jobs` those whose processes are known."""

    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        host: HostFs,
        more: Callable[[Workloads], Iterable[Source]] = lambda work: (),
    ) -> None:
        """`more` are sources of who else wants something kept. Raises KernmeshError."""
        self._work = workloads(host, config.usage, clock, config.pressure.node or platform.node())
        self.jobs = self._work.jobs
        self._annotations_need_api = (
            config.usage.pods.names != "api"
            and config.usage.offline.annotations != Offline().annotations
        )
        sources = (*node_sources(host), *self._work.sources, *more(self._work))
        self._clock, self._every = clock, float(config.usage.fast_interval)
        self._charts: tuple[float, tuple[Chart, ...]] = 0.0, ()
        self.history = History(clock, host, config.usage, sources)

    def collectors(self) -> Iterable[Named]:
        yield "usage", UsageCollector(self.history)
        yield "node", NodeFacts(self.history)
        yield "idle", self.history.idle
        yield from self._work.collectors

    def routes(self) -> Sequence[BaseRoute]:
        return (statistics_route(lambda window: statistics_json(self.history, window)),)

    async def run(self, start: Start) -> None:
        await in_thread(self.history.begin, "usage")
        watch = self._work.watch
        watching = asyncio.create_task(watch.run()) if watch is not None else None
        try:
            await self.history.run(pause_until(start.stop))
        finally:
            if watching is not None:
                watching.cancel()

    def charts(self) -> tuple[Chart, ...]:
        """For the page, made once an interval. Blocks."""
        at, made = self._charts
        now = self._clock.monotonic()
        if not made or now - at >= self._every:
            made = charts(self.history, self._clock)
            self._charts = now, made
        return made

    def needs_restart(self, before: AgentConfig, now: AgentConfig) -> Iterable[str]:
        if before.usage != now.usage:
            yield "usage"

    def problems(self) -> Iterable[str]:
        if self.history.problem:
            yield self.history.problem
        if self._work.watch is not None and self._work.watch.problem:
            yield self._work.watch.problem
        if self._annotations_need_api:
            key = "usage.offline.annotations"
            yield f"{key} is set, and has no effect without usage.pods.names: api"

    def close(self) -> None:
        self.history.close()
