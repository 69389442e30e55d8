"""What every long-running role does alike: bind, serve, reload, stop.

A role is a Role: its configuration, its collectors, its routes and its tasks; the rest is here
and nowhere else. Knows no part of any role.
"""

import asyncio
import logging
import signal
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from exporter.clock import Clock, SystemClock
from exporter.errors import KernmeshError
from exporter.hostfs import HostFs
from exporter.memory import one_heap
from exporter.metrics import exposition
from exporter.metrics.registry import Named, Registry
from exporter.metrics.reloads import Reloads
from exporter.privileges import places as reach
from exporter.privileges.landlock import Places
from exporter.privileges.letting_go import Needs, Privileges
from exporter.service import Service
from exporter.threads import in_thread
from exporter.web.app import create_app
from exporter.web.connections import Connections
from exporter.web.limits import Limits
from exporter.web.listen import bind, urls
from exporter.web.server import Server, serve

if TYPE_CHECKING:
    from exporter.web.protection import Protection

# So that a render thread does not keep the loop waiting for Python's default 5 ms.
SWITCH_INTERVAL_SECONDS = 0.0002

_NOT_NAMED = (
    "files in folders that the configuration did not name at the start take a restart "
    "(Landlock, docs/privileges.md)"
)

C = TypeVar("C")
Show = Callable[[str], None]
"""Gets the one screen that says what is on, once that is known."""

log = logging.getLogger(__name__)


class Options(NamedTuple):
    """What the command line says. `config` None: the defaults. `listen`, if any, and `web_config`
    replace the file's."""

    config: Path | None = None
    listen: tuple[str, ...] = ()
    web_config: Path | None = None
    lifecycle: bool = False
    host: HostFs = HostFs()
    inherited: tuple[socket.socket, ...] = ()
    service: Service = Service()


class Start(NamedTuple):
    """What tasks may want to know. `stop` is set when the role is told to end; whoever does not
    heed it is cancelled when the server has ended."""

    sockets: Sequence[socket.socket]
    urls: Sequence[str]
    stop: asyncio.Event
    show: Show


class Role(ABC, Generic[C]):
    """One per process. C is what its files say, read together."""

    limits = Limits()

    def __init__(
        self, options: Options, lifecycle: bool, web_config: str | None = None, drop: bool = False
    ) -> None:
        """`lifecycle`, `web_config` and `drop` (privileges) are what the file says of them. Raises
        KernmeshError."""
        self.options = options
        self.clock = SystemClock()
        self.registry = Registry(self.clock)
        """What /metrics shows; the role fills it."""
        self.reloads = Reloads(self.clock)
        self.changing = asyncio.Lock()
        """Held by a reload, and by whatever else must not see half of one."""
        self._lifecycle = options.lifecycle or lifecycle
        self._notes: tuple[str, ...] = ()
        self._server: Server | None = None
        web = options.web_config or web_config
        self._protection = None if web is None else _protection(Path(web), self.clock)
        if self._protection is not None:
            self.registry.register(self._protection, "web")
        self.privileges = Privileges(drop)
        self.registry.register(self.privileges, "privileges")

    # --- what a role is

    @abstractmethod
    def routes(self) -> Sequence[BaseRoute]:
        """What it serves besides /metrics and /-/…; asked for once, in the loop."""

    @abstractmethod
    def tasks(self, start: Start) -> Sequence[Coroutine[Any, Any, None]]:
        """What it does while it serves."""

    @abstractmethod
    def ready(self) -> str | None:
        """Why it is not, None when it is."""

    @abstractmethod
    def read(self) -> C:
        """What its files say now. Blocks; raises KernmeshError, and nothing is taken then."""

    @abstractmethod
    async def take(self, now: C) -> Mapping[str, object]:
        """Goes on by this; what it returns is said in the log."""

    @abstractmethod
    def needs_restart(self, now: C) -> Iterable[str]:
        """Keys that have changed since the start and that a running role cannot change."""

    def front(self, app: ASGIApp) -> ASGIApp:
        """The app that stands before all routes, where a role has one."""
        return app

    def close(self) -> None:
        """Frees what it holds, however serving ended."""

    def needs(self, sockets: Sequence[socket.socket]) -> Needs:
        """What it keeps when it lets go of its privileges: nothing but files, but for who overrides
        it. Asked for once, before it serves on these sockets."""
        return Needs(places=self.places())

    def places(self, read: Iterable[Path] = (), write: Iterable[Path] = ()) -> Places:
        """What every role goes on reading, and these."""
        options, web = self.options, self._protection
        files = [options.config, *(web.files() if web is not None else ())]
        return Places(
            read=(*reach.everywhere(options.host), *reach.named(files), *read),
            write=(reach.NULL, *write),
            abstract_sockets=(options.service.address or "").startswith("@"),
        )

    # --- what every role does

    def register(self, collectors: Iterable[Named]) -> None:
        """By the name that kernmesh_collector_* have for them."""
        for name, collector in collectors:
            self.registry.register(collector, name)

    def connections(self) -> Connections | None:
        """None before the server runs."""
        return None if self._server is None else self._server.connections

    def problems(self) -> Iterator[str]:
        """What the last reload left to say."""
        if self.reloads.problem:
            yield f"the last reload was refused and changed nothing: {self.reloads.problem}"
        if self._protection is not None and self._protection.problem:
            yield f"the web configuration stays as it was: {self._protection.problem}"
        yield from self._notes
        yield from self.privileges.problems()

    async def reload(self) -> None:
        """Reads the files anew. Raises KernmeshError where they are bad; all stays as it was then,
        which /metrics says too."""
        async with self.changing, self.options.service.reload():
            web = self._protection
            try:
                now = await in_thread(self.read, "reload")
                web_now = await in_thread(web.read, "web files") if web else None
            except KernmeshError as error:
                self.reloads.failed(error.lines[0])
                for line in error.lines:
                    log.error("reload refused: %s", line)
                if self.privileges.hides_files and any("denied" in line for line in error.lines):
                    log.error("reload refused: %s", _NOT_NAMED)
                raise
            self._notes = tuple(
                f"{key} has changed, which takes effect when kernmesh is restarted"
                for key in self.needs_restart(now)
            )
            for note in self._notes:
                log.warning(note)
            try:
                said = await self.take(now)
            except Exception as error:  # whatever it is, what runs goes on
                reason = f"{type(error).__name__}: {error}"
                self.reloads.failed(reason)
                log.error("reload failed", exc_info=error)
                raise KernmeshError(reason) from error
            if web is not None and web_now is not None:
                web.take(web_now)
            self.reloads.succeeded()
            log.info("reloaded", extra=said)

    async def serve(self, sockets: Sequence[socket.socket], show: Show) -> None:
        """Ends on SIGTERM or SIGINT, with everything closed."""
        stop, hangup = asyncio.Event(), asyncio.Event()
        service = self.options.service

        def end() -> None:
            service.stopping()
            stop.set()

        def shown(screen: str) -> None:
            show(screen)
            service.ready()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        loop.add_signal_handler(signal.SIGHUP, hangup.set)
        app = create_app(
            render=self._render,
            negotiate=exposition.negotiate,
            ready=self.ready,
            reload=self.reload if self._lifecycle else None,
            routes=self.routes(),
        )
        web = self._protection
        front = self.front(app)
        if web is None:
            self._server = Server(front, self.limits)
        else:
            from exporter.web.guard import Guard

            guard = Guard(front, lambda: web.rules, self.clock)
            self._server = Server(guard, self.limits, lambda: web.secure)
            web.renew = self._server.connections.renew
            web.denied = guard.denied
        secure = web is not None and web.secure is not None
        start = Start(sockets, urls(sockets, secure), stop, shown)
        try:
            async with asyncio.TaskGroup() as group:
                besides = [
                    group.create_task(each)
                    for each in (*self.tasks(start), self._reload_on(hangup), service.live())
                ]
                if web is not None:
                    besides.append(group.create_task(web.run()))
                await serve(self._server, sockets, stop)
                for task in besides:
                    task.cancel()
        finally:
            self.close()

    async def _reload_on(self, hangup: asyncio.Event) -> None:
        while True:
            await hangup.wait()
            hangup.clear()
            with suppress(KernmeshError):  # logged and counted where it was found
                await self.reload()

    def _render(
        self, accept: str, encoding: str, names: tuple[str, ...]
    ) -> tuple[bytes, Mapping[str, str]]:
        return exposition.render(self.registry, accept, encoding, names)


def _protection(path: Path, clock: Clock) -> "Protection":
    """Raises KernmeshError."""
    from exporter.web.protection import Protection  # who has none does not pay for it

    return Protection(path, clock)


def run(
    role: Role[Any],
    listen: Sequence[str],
    show: Show,
    confined: Callable[[], None] | None = None,
) -> int:
    """Runs until SIGTERM or SIGINT; 0 then. `listen` is what the file says; sockets that a service
    manager bound take the place of all addresses. `confined` is called when this thread has let go
    of its privileges, by a role that seals all threads later; None: that is at once. Raises
    KernmeshError where it cannot start."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    one_heap()
    options = role.options
    sockets = list(options.inherited) or bind(options.listen or listen)
    role.privileges.confine(role.needs(sockets))
    if confined is not None:
        confined()
    else:
        role.privileges.seal()
    asyncio.run(role.serve(sockets, show))
    return 0
