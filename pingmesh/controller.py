"""The controller, put together: members, topology, pinglists, the mesh's page.

Replicas share nothing: each makes the same lists of the same members. Starting, reloading and
stopping are every role's (exporter/role.py).
"""

import asyncio
import logging
import socket
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from exporter import __revision__, __version__
from exporter.errors import ConfigError, KernmeshError, Problem
from exporter.filestamp import Stamp, stamp_of
from exporter.memory import give_back
from exporter.metrics.process import register_self
from exporter.privileges import places as reach
from exporter.privileges.letting_go import Needs
from exporter.role import Options, Role, Show, Start, run
from exporter.threads import in_thread
from exporter.web.clients import Clients
from exporter.web.limits import Limits
from pingmesh import controller_config
from pingmesh.controller_config import ControllerConfig, load_controller
from pingmesh.controller_metrics import ControllerCollector, Figures
from pingmesh.inventory import FileSource, Network, Roll, Source
from pingmesh.lists import Lists
from pingmesh.mesh_watch import Meshes, MeshWatch
from pingmesh.networks import Networks, make_networks
from pingmesh.pinglist import Pinglist, read_pinglist
from pingmesh.serving import Pinglists

if TYPE_CHECKING:
    from pingmesh.kubernetes import Kubernetes

log = logging.getLogger(__name__)


def run_controller(options: Options, show: Show) -> int:
    """Runs until SIGTERM or SIGINT; 0 then. Raises KernmeshError where it cannot start."""
    if options.config is None:
        raise KernmeshError("--config: is missing, want controller.yaml")
    config = load_controller(options.config)
    return run(Controller(options.config, config, options), config.server.listen, show)


class Given(NamedTuple):
    """What the files say, read together. `kubernetes` None: the API is not asked."""

    config: ControllerConfig
    roll: Roll
    kubernetes: "Kubernetes | None"
    custom: Pinglist
    custom_stamp: tuple[int, ...]


class Controller(Role[Given]):
    # Agents come every minute or so; who is idle makes room for who asks.
    limits = Limits(connections=512, idle_seconds=90.0, pipelined=64)

    def __init__(self, path: Path, config: ControllerConfig, options: Options) -> None:
        """`config` is what `path` says. Reads the files that it names and makes the first topology.
        Raises KernmeshError."""
        server, drop = config.server, config.privileges.drop
        super().__init__(options, server.lifecycle, server.web_config, drop)
        self._path, self._first = path, config  # what only a restart changes is as it says
        self._networks = Networks()
        self._build_seconds: float | None = None
        self._builds = 0
        self._uncovered = 0
        self._custom_problem: str | None = None
        self._pinglists: Pinglists | None = None

        def mesh(path: str, network: Network) -> MeshWatch:
            def lists() -> Lists | None:
                return self._networks.lists(network)

            return MeshWatch(path, config.mesh, lists, self.stale, self.clock, __version__)

        self._mesh = Meshes({"nodes": mesh("/mesh", "nodes"), "pods": mesh("/mesh/pods", "pods")})
        self.register(
            [
                ("controller", ControllerCollector(self.figures)),
                ("mesh", self._mesh),
                ("config", self.reloads),
                ("clients", Clients(self.connections)),
            ],
        )
        register_self(self.registry, options.host, __version__, __revision__, "kernmesh_controller")
        self._kubernetes: Kubernetes | None = None
        self._look_now, self._other_api = asyncio.Event(), asyncio.Event()
        self._given = self._read(config)
        self._kubernetes = self._given.kubernetes
        self._build(self._given)

    def needs(self, sockets: Sequence[socket.socket]) -> Needs:
        kubernetes = self._first.source.kubernetes
        read, write = list(reach.named_by(self._first)), []
        if kubernetes is not None:
            read += reach.of_kubernetes(kubernetes.kubeconfig)
            if kubernetes.keep is not None:
                write.append(Path(kubernetes.keep).absolute().parent)
        return Needs(places=self.places(read, write))

    def routes(self) -> Sequence[BaseRoute]:
        return self._mesh.routes()

    def front(self, app: ASGIApp) -> ASGIApp:
        self._pinglists = Pinglists(app, lambda: self._networks, self.stale)
        return self._pinglists

    def tasks(self, start: Start) -> Sequence[Coroutine[Any, Any, None]]:
        give_back()
        start.show(self._screen(start.urls))
        return [self._refresh(), self._watch(), *self._mesh.tasks()]

    def ready(self) -> str | None:
        return None if self._networks.known else "the members are not known yet"

    def read(self) -> Given:
        return self._read(load_controller(self._path))

    async def take(self, now: Given) -> Mapping[str, object]:
        self._given = now
        if now.kubernetes is not self._kubernetes:
            self._kubernetes = now.kubernetes
            self._other_api.set()
        await in_thread(lambda: self._build(now), "build")
        self._mesh.configure(now.config.mesh)
        return {"members": self.figures().members}

    def needs_restart(self, now: Given) -> Iterable[str]:
        for key in ("server", "privileges"):
            if getattr(now.config, key) != getattr(self._first, key):
                yield key

    def stale(self) -> str | None:
        """Why members may be out of date; None while they are not."""
        problems = self._given.roll.problems
        if not problems:
            return None
        name, problem = next(iter(problems.items()))
        return f"{name}: {problem}"

    def figures(self) -> Figures:
        networks, given = self._networks, self._given
        return Figures(
            members=sum(len(lists.topology) for lists in networks.known),
            racks=len({id_ for lists in networks.known for id_ in lists.topology.racks}),
            uncovered=self._uncovered,
            opted_in=sum(made.opted_in for made in networks.made.values()),
            unprobed=sum(made.unprobed for made in networks.made.values()),
            left_out=given.roll.left_out(),
            unreadable=given.kubernetes.unreadable if given.kubernetes else 0,
            build_seconds=self._build_seconds,
            builds=self._builds,
            ages=given.roll.ages(),
            away=dict(given.roll.problems),
            sources=given.roll.names,
            served=dict(self._pinglists.served) if self._pinglists else {},
        )

    def _read(self, config: ControllerConfig) -> Given:
        """Raises KernmeshError: nothing of it is taken then."""
        problems: list[Problem] = []
        sources: list[Source] = []
        if config.inventory is not None:
            sources.append(FileSource(Path(config.inventory)))
        kubernetes = self._kubernetes_of(config.source.kubernetes)
        if kubernetes is not None:
            sources += kubernetes.sources
        roll = Roll(sources, self.clock)
        roll.look()
        file = roll.errors.get(FileSource.name)
        if isinstance(file, ConfigError):
            problems += file.problems
        elif file is not None:
            raise file
        custom = Pinglist()
        stamp: tuple[int, ...] = ()
        if config.pinglist is not None:
            try:
                custom, stamp = _read_custom(Path(config.pinglist))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return Given(config, roll, kubernetes, custom, stamp)

    def _kubernetes_of(self, asked: controller_config.Kubernetes | None) -> "Kubernetes | None":
        """The one that runs, where nothing about it is different. Raises KernmeshError."""
        if asked is None:
            return None
        from exporter.kube.access import find_access
        from pingmesh.kubernetes import Kubernetes

        access = find_access(Path(asked.kubeconfig) if asked.kubeconfig else None)
        now = self._kubernetes
        if now is not None and (now.config, now.access) == (asked, access):
            return now
        return Kubernetes(asked, access, self.clock)

    def _build(self, given: Given) -> None:
        """The lists as the members are now; what has not changed is taken over."""
        started = self.clock.monotonic()
        roll, networks = given.roll, {source.network for source in given.roll.sources}
        found = {
            network: None if roll.waiting(network) else roll.members(network)
            for network in sorted(networks)
        }
        made = make_networks(given.config, given.custom, found, self._networks)
        self._networks = made
        uncovered = sum(lists.topology.uncovered() for lists in made.known)
        self._build_seconds = self.clock.monotonic() - started
        self._builds += 1
        if uncovered and uncovered != self._uncovered:
            log.warning(
                "%d pairs of racks are probed by nobody: topology.max_targets is too small for "
                "so many racks of so few agents",
                uncovered,
            )
        self._uncovered = uncovered

    async def _refresh(self) -> None:
        """Looks at all sources each `refresh`, and when one that watches says so."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._given.config.refresh):
                    await self._look_now.wait()
            self._look_now.clear()
            async with self.changing:
                await in_thread(self._look, "refresh")

    async def _watch(self) -> None:
        """Runs what watches the Kubernetes API; after a reload, another one."""
        while True:
            self._other_api.clear()
            now = self._kubernetes
            async with asyncio.TaskGroup() as group:
                task = group.create_task(now.run(self._look_now.set)) if now else None
                await self._other_api.wait()
                if task is not None:
                    task.cancel()

    def _look(self) -> None:
        given = self._given
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
            problem = error.lines[0]
            if problem != self._custom_problem:
                log.error("custom targets stay as they were: %s", problem)
            self._custom_problem = problem
            return None
        self._custom_problem = None
        return given._replace(custom=custom, custom_stamp=stamp)

    def _screen(self, where: Sequence[str]) -> str:
        now = self.figures()
        who = f"{now.members} agents in {now.racks} racks"
        if self._networks.waiting:
            who = "members are being asked for"
        lines = [
            f"kernmesh {__version__} controller: {who}",
            *(f"pinglists: {url}/pinglist/NODE" for url in where),
            *(f"metrics: {url}/metrics   page: {url}/mesh" for url in where),
        ]
        return "\n".join(lines)


def _stamp(path: Path) -> Stamp:
    """Raises KernmeshError."""
    try:
        return stamp_of(path.stat())
    except OSError as error:
        raise KernmeshError(f"{path}: {error.strerror}") from error


def _read_custom(path: Path) -> tuple[Pinglist, Stamp]:
    """Raises KernmeshError."""
    stamp = _stamp(path)
    return read_pinglist(path), stamp
