"""Central labelling at work: rounds of reading, and whatever follows from them while we lead.

    nodes (informer) ─┐                        ┌▶ Keeper ─▶ marks
    agents, Prometheus ┴▶ a round ─▶ Fleet ────┼▶ CraneNotes ─▶ annotations
                                               └▶ Evictor, Janitor

The rule: one round ends before the next begins; who does not lead reads nothing and writes nothing;
while the API is away, whoever led last goes on deciding.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from exporter.clock import Clock
from exporter.kube.api import ENDPOINT_SLICES, NODES, PODS, KubeApi
from exporter.kube.cache import Change
from exporter.kube.informer import Informer
from exporter.labeller.agent_source import AgentSource, Place
from exporter.labeller.config import LabellerConfig
from exporter.labeller.crane_notes import MANAGER as CRANE_MANAGER
from exporter.labeller.crane_notes import Bound, CraneNotes, HotNodes, bound
from exporter.labeller.evictor import Evictor
from exporter.labeller.fleet import Fleet
from exporter.labeller.janitor import AGAIN_SECONDS, AGENT, Janitor
from exporter.labeller.keeper import Keeper
from exporter.labeller.lease import Lease
from exporter.labeller.nodes import MANAGER, Known, by_name, reduced
from exporter.labeller.places import SERVICE_LABEL, of_slice, places
from exporter.labeller.prom_source import PromSource
from exporter.labeller.settings import CranePlan, settings_of
from exporter.pressure.levels import Settings
from exporter.pressure.marks import Marks
from exporter.pressure.writer import Writer

CLEAR_SECONDS = 25.0
"""How long the end waits for the API: Kubernetes gives a pod 30 s."""

log = logging.getLogger(__name__)


class Central:
    """`lease` None: there is but one replica. `api` is closed by whoever made it."""

    def __init__(
        self,
        config: LabellerConfig,
        api: KubeApi,
        clock: Clock,
        *,
        lease: Lease | None,
        prom: PromSource | None,
        agents: AgentSource | None,
        crane: CranePlan | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        show: Callable[[str], None] = log.info,
    ) -> None:
        self._config, self._api, self._clock, self._pause = config, api, clock, pause
        self.lease, self.prom, self.agents = lease, prom, agents
        self.marks = Marks(
            config.keys.prefix,
            legacy_status=config.keys.legacy_status,
            condition=config.condition,
            taint=config.taint,
            heartbeat=False,  # the Lease says who lives
        )
        self.fleet = Fleet(self._settings())

        def writer(manager: str, rate: float) -> Writer:
            return Writer(
                *(api, clock, manager, pause),
                rate=rate,
                dry_run=config.dry_run,
                show=show,
                fence=self._fence,
            )

        self.writer = writer(MANAGER, config.writes_per_second)
        self.keeper = Keeper(
            self.fleet, self.marks, self.writer, api, clock, float(config.expire_after)
        )
        self.janitor = Janitor(api, writer(AGENT, 1.0), self.marks, clock)
        self.evictor = Evictor(
            api,
            clock,
            self._fence,
            cooldown=float(config.evictions.cooldown),
            never=config.evictions.never,
            dry_run=config.dry_run,
            show=show,
        )
        hot = HotNodes(crane.hot, clock) if crane is not None and crane.hot else None
        self.crane_writer = writer(CRANE_MANAGER, config.crane_writes_per_second)
        self.crane = CraneNotes(crane.crane, hot, self.crane_writer, api, clock) if crane else None
        self.nodes: Informer[Known] = Informer(
            api,
            NODES,
            clock,
            lambda node: reduced(node, self.marks),
            on_change=self._changed,
            pause=pause,
        )
        self._pods: Informer[Bound] | None = None
        if hot is not None:
            self._pods = Informer(api, PODS, clock, bound, on_change=hot.changed, pause=pause)
        self._slices: Informer[Mapping[str, Place]] | None = None
        if config.agents is not None and config.agents.service is not None:
            namespace, _, service = config.agents.service.partition("/")
            self._slices = Informer(
                api,
                ENDPOINT_SLICES,
                clock,
                of_slice,
                namespace=namespace,
                labels=f"{SERVICE_LABEL}={service}",
                pause=pause,
            )
        self.informers = tuple(each for each in (self.nodes, self._pods, self._slices) if each)
        self._names: Mapping[str, str] = {}
        self._names_old = True
        self._crane_task: asyncio.Task[None] | None = None
        self.rounds = 0
        self.round_seconds: float | None = None
        self.round_ended: float | None = None
        self.problem = ""

    # --- whose it is

    @property
    def leads(self) -> bool:
        return self.lease is None or self.lease.leads

    @property
    def decides(self) -> bool:
        """Also while nobody can tell who leads, if we did."""
        if self.lease is None or self.lease.role == "leader":
            return True
        return self.lease.role == "unsure" and self.keeper.begun

    async def _fence(self) -> bool:
        return self.lease is None or await self.lease.confirm()

    # --- at work

    async def run(self) -> None:
        """Until it is cancelled; then our marks go, if that is wanted, and the lease."""
        tasks: list[Coroutine[Any, Any, None]] = [each.run() for each in self.informers]
        tasks += [self._rounds(), self.keeper.run(), self._sweeping()]
        holding = asyncio.create_task(self.lease.run()) if self.lease is not None else None
        try:
            async with asyncio.TaskGroup() as group:
                for each in tasks:
                    group.create_task(each)
        finally:
            await self._end(holding)

    async def _rounds(self) -> None:
        while True:
            began = self._clock.monotonic()
            try:
                await self.round()
                self.problem = ""
            except Exception as error:  # what nobody thought of costs this round, not the role
                log.error("pressure: a round failed", exc_info=error)
                self.problem = f"a round failed: {type(error).__name__}: {error}"
            left = self._config.interval - (self._clock.monotonic() - began)
            # Who waits for a lease looks as often as the lease is looked at.
            await self._pause(max(0.0, left) if self.keeper.begun else min(1.0, max(0.0, left)))

    async def round(self) -> None:
        if not self.nodes.synced:
            return
        if not self.decides:
            if self.keeper.begun:
                self.keeper.end()
            return
        if not self.keeper.begun:
            self.keeper.begin()
            self.janitor.clear()
        began = self._clock.monotonic()
        if self.prom is not None and self.prom.look():
            self.fleet.configure(self._settings())
            self.keeper.consider(list(self.keeper.known))
        found = await asyncio.gather(*self._reading())
        if not self.keeper.begun:
            return
        readings = found[0] if found else {}
        for more in found[1:]:
            for node, values in more.items():
                readings.setdefault(node, {}).update(values)
        now = self._clock.monotonic()
        self.keeper.round(self.fleet.advance(now, self.keeper.known, readings))
        self.rounds += 1
        self.round_seconds, self.round_ended = now - began, now
        await self._besides()

    def _settings(self) -> Mapping[str, Settings]:
        if self.prom is None:
            return settings_of(self._config, ())
        return settings_of(self._config, self.prom.file.rules, self.prom.file.broken)

    def _reading(self) -> Iterator[Coroutine[Any, Any, dict[str, dict[str, float | None]]]]:
        if self.agents is not None and self._config.agents is not None:
            slices = self._slices.known.values() if self._slices is not None else ()
            yield self.agents.read(places(self._config.agents, self.keeper.known, slices))
        if self.prom is not None:
            if self._names_old:
                self._names, self._names_old = by_name(self.keeper.known.items()), False
            yield self.prom.read(self._names)

    async def _besides(self) -> None:
        if self.agents is None or not self.leads:
            return
        if self._config.evictions.enabled and self.agents.evictions:
            await self.evictor.serve(self.agents.evictions)
        if self.crane is not None and (self._crane_task is None or self._crane_task.done()):
            work = self.crane.write(dict(self.keeper.known), self.agents.statistics)
            self._crane_task = asyncio.create_task(work)

    async def crane_written(self) -> None:
        """Waits until crane's annotations of the last round are."""
        if self._crane_task is not None:
            await self._crane_task

    async def _sweeping(self) -> None:
        while True:
            await self._pause(AGAIN_SECONDS)
            if self._config.janitor and self.leads and self.keeper.begun:
                try:
                    await self.janitor.sweep(self.keeper.known)
                except Exception as error:
                    log.error("pressure: sweeping failed", exc_info=error)

    def _changed(self, change: Change[Known]) -> None:
        old, new = change.old, change.new
        if old is None or new is None or old.names != new.names:
            self._names_old = True
        self.keeper.changed(change)

    async def _end(self, holding: "asyncio.Task[None] | None") -> None:
        """Bounded: whoever waits for the end does not wait for the API's."""
        if self._crane_task is not None:
            self._crane_task.cancel()
        try:
            async with asyncio.timeout(CLEAR_SECONDS):
                if self._config.clear_on_stop and self.leads and not self._config.dry_run:
                    left = await self.keeper.clear()
                    if left:
                        log.warning("pressure: marks stay on %d nodes", left)
        except TimeoutError:
            log.warning("pressure: marks stay on %d nodes: no more time", self.keeper.pending)
        if holding is not None and self.lease is not None:
            holding.cancel()
            try:
                async with asyncio.timeout(3.0):
                    await self.lease.release()
            except TimeoutError:
                log.info("the lease is not given back: the API does not answer")
        if self.prom is not None:
            await self.prom.close()

    # --- what is shown

    def ready(self) -> str | None:
        if not self.nodes.synced:
            return f"the nodes are not known yet{_because(self.nodes.problem)}"
        if self.lease is not None and not self.lease.holder:
            return f"nobody holds the lease yet{_because(self.lease.problem)}"
        return None

    def problems(self) -> Sequence[str]:
        found = [self.problem, self.nodes.problem]
        for other in (self._pods, self._slices):
            found.append(other.problem if other is not None else "")
        found.append(f"lease: {self.lease.problem}" if self.lease and self.lease.problem else "")
        found += self.prom.problems if self.prom is not None else []
        if self.agents is not None:
            found += [f"{n} agents fail: {why}" for why, n in list(self.agents.reasons.items())[:5]]
        for (node, field), owner in list(self.keeper.left.items())[:20]:
            found.append(f"node {node}: {field} is {owner}'s and left alone")
        return [each for each in found if each]

    def pressed(self) -> Sequence[str]:
        """Nodes that have marks of ours, as the API has them; a replica that waits knows, too."""
        nodes = sorted(self.keeper.known.items())
        return [name for name, known in nodes if known.standing.pressed(self.marks)]


def _because(problem: str) -> str:
    return f": {problem}" if problem else ""
