"""The controller, put together: members, topology, pinglists, server; start, reload, stop.

Replicas share nothing: each makes the same lists of the same members. This is the one module of
pingmesh that serves HTTP, and so the one that knows exporter.web.
"""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from starlette.routing import Router

from exporter import __version__
from exporter.clock import SystemClock
from exporter.errors import ConfigError, KernmeshError, Problem
from exporter.hostfs import HostFs
from exporter.memory import give_back
from exporter.metrics import exposition
from exporter.metrics.process import register_self
from exporter.metrics.registry import Registry
from exporter.metrics.reloads import Reloads
from exporter.threads import in_thread
from exporter.web.app import Gate, operating
from exporter.web.clients import Clients
from exporter.web.limits import Limits
from exporter.web.listen import bind, urls
from exporter.web.server import Server, serve
from pingmesh.controller_config import ControllerConfig, load_controller
from pingmesh.controller_metrics import ControllerCollector, Figures
from pingmesh.inventory import FileSource, Roll
from pingmesh.lists import Lists, Shared, custom_targets
from pingmesh.mesh_watch import MeshWatch
from pingmesh.pinglist import Pinglist, read_pinglist
from pingmesh.serving import Pinglists
from pingmesh.topology import Topology

SWITCH_INTERVAL_SECONDS = 0.0002
LIMITS = Limits(connections=512, idle_seconds=90.0, pipelined=64)
"""Agents come every minute or so; who is idle makes room for who asks."""
OTHERS = 32

log = logging.getLogger(__name__)


class Options(NamedTuple):
    """What the command line says. `listen`, if any, replaces the file's."""

    config: Path
    listen: tuple[str, ...] = ()
    lifecycle: bool = False
    host: HostFs = HostFs()


def run(options: Options, show: Callable[[str], None]) -> int:
    """Runs until SIGTERM or SIGINT; 0 then. Raises KernmeshError where it cannot start.

    `show` gets the one screen that says what is served, once that is known."""
    config = load_controller(options.config)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    controller = Controller(config, options)
    controller.begin()
    sockets = bind(options.listen or config.server.listen)
    asyncio.run(controller.serve(sockets, show))
    return 0


class Given(NamedTuple):
    """What the files say, read together."""

    config: ControllerConfig
    roll: Roll
    custom: Pinglist
    custom_stamp: tuple[int, ...]


class Controller:
    """One per process; `begin`, then `serve` once."""

    def __init__(self, config: ControllerConfig, options: Options) -> None:
        self._options = options
        self._first = config
        self._clock = SystemClock()
        self._given: Given | None = None
        self._lists: Lists | None = None
        self._build_seconds: float | None = None
        self._builds = 0
        self._uncovered = 0
        self._custom_problem: str | None = None
        self._stop = asyncio.Event()
        self._changing = asyncio.Lock()
        self._reloads = Reloads(self._clock)
        self._server: Server | None = None
        self._pinglists: Pinglists | None = None
        self._mesh = MeshWatch(
            config.mesh, lambda: self._lists, self.stale, self._clock, __version__
        )
        self._registry = self._make_registry()

    def _make_registry(self) -> Registry:
        registry = Registry(self._clock)
        registry.register(ControllerCollector(self.figures), "controller")
        registry.register(self._mesh, "mesh")
        registry.register(self._reloads, "config")
        registry.register(
            Clients(lambda: self._server.connections if self._server else None), "clients"
        )
        register_self(registry, self._options.host, __version__, "", "kernmesh_controller")
        return registry

    def begin(self) -> None:
        """Reads all files and makes the first topology. Raises KernmeshError."""
        self._given = self._read(self._first)
        self._build(self._given)

    async def serve(self, sockets: Sequence[socket.socket], show: Callable[[str], None]) -> None:
        """Ends on SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        hangup = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, hangup.set)
        lifecycle = self._options.lifecycle or self._first.server.lifecycle
        table = operating(
            render=self._render,
            negotiate=exposition.negotiate,
            ready=lambda: None if self._lists else "the members are not known yet",
            reload=self.reload if lifecycle else None,
        )
        others = Gate(Router([*table, *self._mesh.routes()], redirect_slashes=False), OTHERS)
        self._pinglists = Pinglists(others, lambda: self._lists, self.stale)
        self._server = Server(self._pinglists, LIMITS)
        give_back()
        async with asyncio.TaskGroup() as group:
            besides = [
                group.create_task(self._refresh()),
                group.create_task(self._mesh.run()),
                group.create_task(self._reload_on(hangup)),
            ]
            show(self._screen(urls(sockets)))
            await serve(self._server, sockets, self._stop)
            for task in besides:
                task.cancel()

    async def reload(self) -> None:
        """Reads everything anew. Raises KernmeshError where something is bad; all stays as it was
        then, which /metrics says too."""
        async with self._changing:
            try:
                given = await in_thread(
                    lambda: self._read(load_controller(self._options.config)), "reload"
                )
            except KernmeshError as error:
                problems = error.problems if isinstance(error, ConfigError) else (str(error),)
                self._reloads.failed(str(problems[0]))
                for problem in problems:
                    log.error("reload refused: %s", problem)
                raise
            if given.config.server != self._first.server:
                log.warning("server has changed, which takes effect at a restart")
            self._given = given
            await in_thread(lambda: self._build(given), "build")
            self._mesh.configure(given.config.mesh)
            self._reloads.succeeded()
            log.info("reloaded", extra={"members": self.figures().members})

    def stale(self) -> str | None:
        """Why members may be out of date; None while they are not."""
        given = self._given
        if given is None or not given.roll.problems:
            return None
        name, problem = next(iter(given.roll.problems.items()))
        return f"{name}: {problem}"

    def figures(self) -> Figures:
        lists, given = self._lists, self._given
        return Figures(
            members=len(lists.topology) if lists else 0,
            racks=len(lists.topology.racks) if lists else 0,
            uncovered=self._uncovered,
            build_seconds=self._build_seconds,
            builds=self._builds,
            ages=given.roll.ages() if given else {},
            away=dict(given.roll.problems) if given else {},
            sources=given.roll.names if given else (),
            served=dict(self._pinglists.served) if self._pinglists else {},
        )

    def _read(self, config: ControllerConfig) -> Given:
        """Raises KernmeshError: nothing of it is taken then."""
        problems: list[Problem] = []
        roll = Roll([FileSource(Path(config.inventory))], self._clock)
        roll.look()
        for error in roll.errors.values():
            if not isinstance(error, ConfigError):
                raise error
            problems += error.problems
        custom = Pinglist()
        stamp: tuple[int, ...] = ()
        if config.pinglist is not None:
            try:
                custom, stamp = _read_custom(Path(config.pinglist))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return Given(config, roll, custom, stamp)

    def _build(self, given: Given) -> None:
        """The lists as the members are now; what has not changed is taken over."""
        started = self._clock.monotonic()
        config, before = given.config, self._lists
        rules = config.topology.rules(custom_targets(given.custom))
        topology = Topology(given.roll.members(), rules, before.topology if before else None)
        shared = Shared(config.setting, config.probing, given.custom.mesh)
        for id_ in topology.racks:
            topology.plan(id_)
        uncovered = topology.uncovered()
        self._lists = Lists(topology, shared, before)
        self._build_seconds = self._clock.monotonic() - started
        self._builds += 1
        if uncovered and uncovered != self._uncovered:
            log.warning(
                "%d pairs of racks are probed by nobody: topology.max_targets is too small for "
                "%d racks of so few agents",
                *(uncovered, len(topology.racks)),
            )
        self._uncovered = uncovered

    async def _refresh(self) -> None:
        while True:
            given = self._given
            await asyncio.sleep(given.config.refresh if given else 1.0)
            async with self._changing:
                await in_thread(self._look, "refresh")

    def _look(self) -> None:
        given = self._given
        if given is None:
            return
        changed = given.roll.look()
        newer = self._look_custom(given)
        if newer is not None:
            given = self._given = newer
        if changed or newer is not None:
            self._build(given)
            log.info("members changed", extra={"members": self.figures().members})

    def _look_custom(self, given: Given) -> Given | None:
        """With the custom groups as they are now; None where they are as before."""
        if given.config.pinglist is None:
            return None
        path = Path(given.config.pinglist)
        try:
            if _stamp(path) == given.custom_stamp:
                return None
            custom, stamp = _read_custom(path)
        except KernmeshError as error:
            problem = str(error.problems[0] if isinstance(error, ConfigError) else error)
            if problem != self._custom_problem:
                log.error("custom targets stay as they were: %s", problem)
            self._custom_problem = problem
            return None
        self._custom_problem = None
        return given._replace(custom=custom, custom_stamp=stamp)

    async def _reload_on(self, hangup: asyncio.Event) -> None:
        while True:
            await hangup.wait()
            hangup.clear()
            with suppress(KernmeshError):  # logged and counted where it was found
                await self.reload()

    def _screen(self, where: Sequence[str]) -> str:
        now = self.figures()
        lines = [
            f"kernmesh {__version__} controller: {now.members} agents in {now.racks} racks",
            *(f"pinglists: {url}/pinglist/NODE" for url in where),
            *(f"metrics: {url}/metrics   page: {url}/mesh" for url in where),
        ]
        return "\n".join(lines)

    def _render(
        self, accept: str, encoding: str, names: tuple[str, ...]
    ) -> tuple[bytes, Mapping[str, str]]:
        return exposition.render(self._registry, accept, encoding, names)


def _stamp(path: Path) -> tuple[int, ...]:
    """Raises KernmeshError."""
    try:
        stat = path.stat()
    except OSError as error:
        raise KernmeshError(f"{path}: {error.strerror}") from error
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read_custom(path: Path) -> tuple[Pinglist, tuple[int, ...]]:
    """Raises KernmeshError."""
    stamp = _stamp(path)
    return read_pinglist(path), stamp
