"""The agent, put together: configuration, programs, usage, registry, server; start, reload, stop.

The only module that knows all parts. It holds no logic of theirs; whoever reads it sees what the
agent consists of and in which order it comes and goes.
"""

import asyncio
import logging
import platform
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from exporter import __version__, startup
from exporter.clock import SystemClock
from exporter.config import AgentConfig, Ebpf, load_agent
from exporter.decoders.context import DecodeContext
from exporter.ebpf import backends, kernel
from exporter.ebpf.collector import ProgramCollector, ProgramsCollector
from exporter.ebpf.refusals import Refusals
from exporter.ebpf.running import Programs
from exporter.ebpf.selection import select
from exporter.ebpf.spec import Program
from exporter.ebpf.start import Settings, start
from exporter.errors import BpfError, ConfigError, KernmeshError
from exporter.hostfs import HostFs
from exporter.memory import give_back
from exporter.metrics import exposition
from exporter.metrics.process import register_self
from exporter.metrics.registry import Registry
from exporter.metrics.reloads import Reloads
from exporter.otlp import SpanExport
from exporter.pages.landing import DEFAULT_LINKS, CollectorRow, ProgramRow, Status
from exporter.threads import in_thread
from exporter.usage.facts import NodeFacts
from exporter.usage.history import History
from exporter.usage.node import node_sources
from exporter.usage.sampler import pause_until
from exporter.usage.statistics import UsageCollector, statistics_json
from exporter.usage.workloads import workloads
from exporter.web.app import create_app
from exporter.web.clients import Clients
from exporter.web.connections import Connections
from exporter.web.listen import bind, urls
from exporter.web.server import Server, serve
from pingmesh.start import addresses, make_mesh, probe_page

# So that a render thread does not keep the loop waiting for Python's default 5 ms.
SWITCH_INTERVAL_SECONDS = 0.0002
# How often programs that want it have idle keys and new cgroups looked for.
UPKEEP_SECONDS = 5.0

log = logging.getLogger(__name__)


class Options(NamedTuple):
    """What the command line says. `listen`, if any, replaces the file's."""

    config: Path | None = None
    listen: tuple[str, ...] = ()
    lifecycle: bool = False
    host: HostFs = HostFs()


def run(options: Options, show: Callable[[str], None]) -> int:
    """Runs until SIGTERM or SIGINT; 0 then. Raises KernmeshError where it cannot start.

    `show` gets the one screen that says what is on, once that is known."""
    config = load_agent(options.config)
    if config.server.web_config is not None:  # serving in the clear what was to be encrypted: no
        raise KernmeshError(
            f"server.web_config: {config.server.web_config}: this version has no TLS and no users; "
            "take the key out and put a proxy in front"
        )
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    sockets = bind(options.listen or config.server.listen)
    asyncio.run(Agent(config, options).serve(sockets, show))
    return 0


class Agent:
    """One per process; `serve` once."""

    def __init__(self, config: AgentConfig, options: Options) -> None:
        self._config, self._options = config, options
        self._first = config  # what only a restart changes is as it says
        self._clock = SystemClock()
        self._started = self._clock.monotonic()
        self._not_ready: str | None = "programs are being loaded"
        self._work = workloads(options.host, config.usage, self._clock)
        sources = (*node_sources(options.host), *self._work.sources)
        self._history = History(self._clock, options.host, config.usage, sources)
        self._server: Server | None = None
        self._reloads = Reloads(self._clock)
        self._decoding = DecodeContext.of(options.host, self._clock)
        shown = ProgramsCollector(config.ebpf.prefix)
        self._mesh = make_mesh(
            self._clock,
            pinglist=config.pingmesh.pinglist,
            controller=config.pingmesh.controller,
            allow=config.pingmesh.allow,
            deny=config.pingmesh.deny,
            max_pps=config.pingmesh.max_pps,
            node=config.pressure.node,
            tidy=give_back,
        )
        self._registry = self._make_registry(shown)
        self._programs = Programs(shown, self._registry.quiet)
        self._stop = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._notes: tuple[str, ...] = ()
        self._unread: tuple[str, ...] = ()
        self._spans: SpanExport | None = None
        self._spans_to: tuple[str | None, bool] = (None, False)
        self._spans_problem: str | None = None

    def _make_registry(self, programs: ProgramsCollector) -> Registry:
        registry = Registry(self._clock)
        registry.register(programs, "ebpf")
        registry.register(UsageCollector(self._history), "usage")
        registry.register(NodeFacts(self._history), "node")
        registry.register(self._history.idle, "idle")
        for name, collector in self._work.collectors:
            registry.register(collector, name)
        registry.register(self._mesh, "pingmesh")
        registry.register(self._reloads, "config")
        registry.register(Clients(self._connections), "http")
        host, prefix = self._options.host, self._config.ebpf.prefix
        register_self(registry, host, __version__, "", prefix)
        return registry

    def _connections(self) -> Connections | None:
        return None if self._server is None else self._server.connections

    async def serve(self, sockets: Sequence[socket.socket], show: Callable[[str], None]) -> None:
        """Serves at once, is ready when the programs are loaded, ends on SIGTERM or SIGINT with
        everything detached."""
        loop = asyncio.get_running_loop()
        hangup = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, hangup.set)
        lifecycle = self._options.lifecycle or self._config.server.lifecycle
        app = create_app(
            render=self._render,
            negotiate=exposition.negotiate,
            statistics=lambda window: statistics_json(self._history, window),
            status=self.status,
            ready=lambda: self._not_ready,
            reload=self.reload if lifecycle else None,
            routes=(probe_page(self._first.pingmesh.allow, self._first.pingmesh.deny),),
        )
        try:
            async with asyncio.TaskGroup() as group:
                if self._first.pingmesh.responder:
                    self._mesh.respond(addresses(sockets))
                besides = [
                    group.create_task(self._mesh.run()),
                    group.create_task(self._sample()),
                    group.create_task(self._begin(urls(sockets), show)),
                    group.create_task(self._reload_on(hangup)),
                    group.create_task(self._keep_up()),
                ]
                self._server = Server(app)
                await serve(self._server, sockets, self._stop)
                for task in besides:
                    task.cancel()
        finally:
            self._programs.close()
            if self._spans is not None:
                self._spans.close()
            self._history.close()

    async def reload(self) -> None:
        """Reads the configuration anew. Raises KernmeshError where it is bad; the old one holds
        then, which /metrics and the page say too."""
        async with self._reloading:
            try:
                config = await in_thread(lambda: load_agent(self._options.config), "reload")
            except ConfigError as error:
                self._reloads.failed(str(error.problems[0]))
                for problem in error.problems:
                    log.error("reload refused: %s", problem)
                raise
            self._notes = tuple(_needs_restart(self._first, config))
            for note in self._notes:
                log.warning(note)
            self._config = config
            try:
                await self._choose()
            except Exception as error:  # whatever it is, what runs goes on
                reason = f"{type(error).__name__}: {error}"
                self._reloads.failed(reason)
                log.error("reload failed", exc_info=error)
                raise KernmeshError(reason) from error
            self._reloads.succeeded()
            log.info("reloaded", extra={"programs": len(self._programs.running)})

    def status(self) -> Status:
        """The state that the page and the first screen show."""
        on = [
            ProgramRow(each.name, ", ".join(_hooks(each)), notes=each.problems)
            for each in self._programs.running
        ]
        off = [ProgramRow(name, None, reason) for name, reason in self._programs.failed]
        collectors = (
            CollectorRow(each.collector, each.ok, each.detail)
            for each in self._registry.outcomes()
            if not (each.ok and each.collector.startswith("ebpf:"))  # those are programs, above
        )
        return Status(
            version=__version__,
            node=platform.node(),
            uptime_seconds=self._clock.monotonic() - self._started,
            not_ready=self._not_ready,
            programs=(*on, *off),
            collectors=tuple(collectors),
            links=DEFAULT_LINKS,
            problems=tuple(self._problems()),
        )

    def _problems(self) -> Iterator[str]:
        if self._reloads.problem:
            yield f"the last reload was refused and changed nothing: {self._reloads.problem}"
        yield from self._notes
        yield from self._mesh.problems()
        yield from self._unread
        if self._spans_problem:
            yield self._spans_problem
        if self._history.problem:
            yield self._history.problem
        for key in _without_effect(self._config):
            yield f"{key} is set, and this version does not act on it yet"
        for name, reason in self._programs.outdated:
            yield f"{name} runs from its files as they were before: {reason}"

    async def _begin(self, where: Sequence[str], show: Callable[[str], None]) -> None:
        await self._choose()
        self._not_ready = None
        # A first collect fills the caches of names, so that the first scrape is as fast as any.
        await in_thread(lambda: list(self._registry.collect()), "first collect")
        give_back()
        show(startup.screen(self.status(), where))

    async def _choose(self) -> None:
        settings = replace(self._config.ebpf, prefix=self._first.ebpf.prefix)

        def choose() -> None:
            before = self._spans
            self._open_spans(settings.otlp)
            selection = select(settings)
            self._unread = tuple(map(str, selection.unread))
            for problem in self._unread:
                log.warning(problem)
            loading = kernel.Options(
                custom_btf=settings.btf,
                host=self._options.host,
                backend=settings.backend,
                refusals=Refusals(),
            )
            self._programs.choose(
                selection,
                lambda program: self._start(program, settings, loading),
                (
                    *(settings.prefix, settings.max_series, settings.btf, settings.backend),
                    settings.otlp,
                ),
                backends.at_once(loading),
            )
            if before is not None and before is not self._spans:
                before.close()

        await in_thread(choose, "programs")

    def _start(self, program: Program, settings: Ebpf, loading: kernel.Options) -> ProgramCollector:
        spans = self._spans.send if self._spans else None
        wanted = Settings(settings.prefix, settings.max_series, loading, spans)
        return start(program, wanted, self._decoding)

    def _open_spans(self, address: str | None) -> None:
        """Spans go to this collector from now on."""
        if self._spans_to == (address, self._spans is not None):
            return
        self._spans, self._spans_problem = None, None
        if address is not None:
            try:
                self._spans = SpanExport(address)
            except KernmeshError as error:
                self._spans_problem = str(error)
                log.warning(self._spans_problem)
        self._spans_to = (address, self._spans is not None)

    async def _sample(self) -> None:
        await in_thread(self._history.begin, "usage")
        await self._history.run(pause_until(self._stop))

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            try:
                await in_thread(self._programs.keep_up, "upkeep")
            except Exception as error:  # what nobody thought of costs this turn, not the agent
                log.error("upkeep failed", exc_info=error)

    async def _reload_on(self, hangup: asyncio.Event) -> None:
        while True:
            await hangup.wait()
            hangup.clear()
            with suppress(KernmeshError):  # logged and counted where it was found
                await self.reload()

    def _render(
        self, accept: str, encoding: str, names: tuple[str, ...]
    ) -> tuple[bytes, Mapping[str, str]]:
        return exposition.render(self._registry, accept, encoding, names)


def _hooks(collector: ProgramCollector) -> Sequence[str]:
    try:
        functions = collector.loaded.functions()
    except BpfError:  # a reload has just closed it
        return ()
    return tuple(dict.fromkeys(each.hook for each in functions if each.attached))


def _without_effect(config: AgentConfig) -> Iterator[str]:
    """Sections and keys of the contract that the agent reads and checks, but does not act on."""
    default = load_agent(None)
    for section in ("interference", "pressure"):
        if getattr(config, section) != getattr(default, section):
            yield section
    if config.usage.offline.annotations != default.usage.offline.annotations:
        yield "usage.offline.annotations"


def _needs_restart(before: AgentConfig, now: AgentConfig) -> Iterator[str]:
    """Keys that a running agent cannot change."""
    for key, old, new in (
        ("server", before.server, now.server),
        ("pingmesh", before.pingmesh, now.pingmesh),
        ("ebpf.prefix", before.ebpf.prefix, now.ebpf.prefix),
        ("usage", before.usage, now.usage),
    ):
        if old != new:
            yield f"{key} has changed, which takes effect when kernmesh is restarted"
