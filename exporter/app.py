"""The agent, put together: its parts, its registry, its routes, its tasks.

The only module that knows all parts. It holds no logic of theirs, and starting, reloading and
stopping are every role's (role.py); whoever reads it sees what the agent consists of.
"""

import platform
import socket
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute

from exporter import __revision__, __version__, startup
from exporter.config import AgentConfig, load_agent
from exporter.ebpf.selection import names_user_space
from exporter.memory import give_back
from exporter.metrics.process import register_self
from exporter.pages.landing import DEFAULT_LINKS, CollectorRow, Status
from exporter.parts.actuating import ActuatorPart
from exporter.parts.interference import InterferencePart
from exporter.parts.part import Part
from exporter.parts.pressure import PressurePart
from exporter.parts.probing import ProbingPart
from exporter.parts.programs import ProgramsPart
from exporter.parts.usage import UsagePart
from exporter.privileges import places as reach
from exporter.privileges.capabilities import NUMBERS
from exporter.privileges.letting_go import Needs
from exporter.role import Options, Role, Show, Start, run
from exporter.threads import Apart, holding, in_thread
from exporter.web.clients import Clients
from exporter.web.pages import landing_routes

_WITH_PORTS = (socket.AF_INET, socket.AF_INET6)
_UNPRIVILEGED_PORT = 1024


def run_agent(options: Options, show: Show, make: "type[Agent] | None" = None) -> int:
    """Runs until SIGTERM or SIGINT; 0 then. Raises KernmeshError where it cannot start."""
    config = load_agent(options.config)
    with holding() as let_go:
        agent = (make or Agent)(config, options)
        return run(agent, config.server.listen, show, confined=let_go)


class Agent(Role[AgentConfig]):
    """Serves at once, is ready when the programs are loaded, ends with everything detached."""

    def __init__(self, config: AgentConfig, options: Options) -> None:
        server, drop = config.server, config.privileges.drop
        super().__init__(options, server.lifecycle, server.web_config, drop)
        self._apart = Apart("programs") if drop else None
        self._config = config
        self._first = config  # what only a restart changes is as it says
        self._started = self.clock.monotonic()
        self._not_ready: str | None = "programs are being loaded"
        self._interference = InterferencePart(
            config,
            self.clock,
            options.host,
            lambda: self._actuator,
            lambda program, name: self._programs.map_of(program, name),
        )
        self._programs = ProgramsPart(
            config,
            self.clock,
            options.host,
            self.registry,
            self._interference.programs,
            self._apart.run if self._apart is not None else in_thread,
        )
        self._usage = UsagePart(config, self.clock, options.host, self._interference.sources)
        self._interference.watch(self._usage.history)
        self._actuator = ActuatorPart(config, options.host, self._usage.jobs)
        self._probing = ProbingPart(config, self.clock)
        self._parts: tuple[Part, ...] = (
            self._actuator,  # the first to come, the last to go
            self._programs,
            self._usage,
            self._interference,
            self._probing,
            PressurePart(
                config,
                self.clock,
                self._usage.history.sampled,
                self._interference.schedule_wanted,
            ),
        )
        for part in self._parts:
            self.register(part.collectors())
        self.register([("config", self.reloads), ("http", Clients(self.connections))])
        register_self(self.registry, options.host, __version__, __revision__, config.ebpf.prefix)

    def routes(self) -> Sequence[BaseRoute]:
        own = landing_routes(self.status, self._usage.charts)
        return [*own, *(r for part in self._parts for r in part.routes())]

    def needs(self, sockets: Sequence[socket.socket]) -> Needs:
        config, pressure = self._config, self._config.pressure
        read = [*reach.named_by(config), *map(Path, config.ebpf.dirs)]
        read += [self.options.host.root / "var/log" / name for name in ("pods", "containers")]
        if pressure.enabled or config.usage.pods.names == "api":
            read += reach.of_kubernetes(pressure.kubeconfig)
        state = config.usage.state_dir
        if state is not None:
            with suppress(OSError):  # usage says so
                Path(state).mkdir(mode=0o700, parents=True, exist_ok=True)
        all_files = names_user_space(config.ebpf)
        return Needs(
            _kept(sockets) | (frozenset({NUMBERS["CAP_SYS_PTRACE"]}) if all_files else frozenset()),
            self.places(read, [Path(state)] if state is not None else []),
            maps=True,
            all_files=all_files,
        )

    def tasks(self, start: Start) -> Sequence[Coroutine[Any, Any, None]]:
        return [*(part.run(start) for part in self._parts), self._begin(start)]

    def ready(self) -> str | None:
        return self._not_ready

    async def _begin(self, start: Start) -> None:
        await self.take(self._config)
        if self._apart is not None:  # whatever needs privileges is done
            await self._apart.end()
            self._programs.sealed = True
            await in_thread(self.privileges.seal, "seal")
        self._not_ready = None
        # A first collect fills the caches of names, so that the first scrape is as fast as any.
        await in_thread(lambda: list(self.registry.collect()), "first collect")
        give_back()
        start.show(startup.screen(self.status(), start.urls))

    def read(self) -> AgentConfig:
        config = load_agent(self.options.config)
        self._interference.read(config)
        return config

    async def take(self, now: AgentConfig) -> Mapping[str, object]:
        self._config = now
        for part in self._parts:
            await part.configure(now)
        return {"programs": self._programs.running()}

    def needs_restart(self, now: AgentConfig) -> Iterable[str]:
        for key in ("server", "privileges"):
            if getattr(self._first, key) != getattr(now, key):
                yield key
        for part in self._parts:
            yield from part.needs_restart(self._first, now)

    def close(self) -> None:
        with ExitStack() as stack:  # one that fails keeps no other from it
            for part in reversed(self._parts):
                stack.callback(part.close)

    def status(self) -> Status:
        """The state that the page and the first screen show."""
        collectors = (
            CollectorRow(each.collector, each.ok, each.detail)
            for each in self.registry.outcomes()
            if not (each.ok and each.collector.startswith("ebpf:"))  # those are programs, above
        )
        return Status(
            version=__version__,
            node=platform.node(),
            uptime_seconds=self.clock.monotonic() - self._started,
            not_ready=self._not_ready,
            programs=self._programs.rows(),
            collectors=tuple(collectors),
            links=DEFAULT_LINKS,
            problems=tuple(self.problems()),
            sections=tuple(each for part in self._parts for each in part.sections()),
            modules=self._probing.modules(),
        )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        for part in self._parts:
            yield from part.problems()


def _kept(sockets: Sequence[socket.socket]) -> frozenset[int]:
    """SYSLOG names kernel functions, NET_RAW is for probes where ping_group_range lets nobody ping,
    DAC_READ_SEARCH finds a cgroup by its id; the UDP responder binds the server's ports."""
    names = ["CAP_SYSLOG", "CAP_NET_RAW", "CAP_DAC_READ_SEARCH"]
    ports = [each.getsockname()[1] for each in sockets if each.family in _WITH_PORTS]
    if any(0 < port < _UNPRIVILEGED_PORT for port in ports):
        names.append("CAP_NET_BIND_SERVICE")
    return frozenset(NUMBERS[name] for name in names)
