"""The labeller, put together: configuration, access to the API, Central, its pages.

Starting, reloading and stopping are every role's (exporter/role.py). A change of labeller.yaml
takes a restart, which costs no label; rules of Prometheus are read again by themselves.
"""

import platform
import socket
import uuid
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from starlette.routing import BaseRoute

from exporter import __revision__, __version__
from exporter.errors import ConfigError, KernmeshError
from exporter.kube.access import Access, find_access
from exporter.kube.client import KubeClient
from exporter.labeller.agent_source import AgentSource
from exporter.labeller.central import Central
from exporter.labeller.config import LabellerConfig, load_labeller
from exporter.labeller.figures import Figures
from exporter.labeller.lease import Lease
from exporter.labeller.page import Row, View, routes
from exporter.labeller.prom_source import PromSource
from exporter.labeller.settings import check, crane_plan
from exporter.memory import give_back
from exporter.metrics.process import register_self
from exporter.pressure.deciding import GAUGES
from exporter.pressure.facts import Requests
from exporter.privileges import places as reach
from exporter.privileges.letting_go import Needs
from exporter.role import Options, Role, Show, Start, run
from exporter.web.clients import Clients


class Given(NamedTuple):
    """What the files say. `file` is where the configuration came from, in words."""

    config: LabellerConfig
    file: str


def read(path: Path) -> Given:
    """labeller.yaml; the files that it names are `check`'s. Raises ConfigError."""
    return Given(load_labeller(path), str(path))


def run_labeller(options: Options, given: Given, show: Show) -> int:
    """Runs until SIGTERM or SIGINT; 0 then. Raises KernmeshError where it cannot start."""
    return run(Labeller(given, options), given.config.server.listen, show)


class Labeller(Role[Given]):
    def __init__(self, given: Given, options: Options) -> None:
        """Raises KernmeshError: no access to the API, or not one rule to begin with."""
        server = given.config.server
        super().__init__(options, server.lifecycle, server.web_config, given.config.privileges.drop)
        self._first = given
        self._show: Show = print
        config = given.config
        file = config.kubeconfig
        access = find_access(Path(file) if file else None)
        requests = Requests()
        self._api = KubeClient(access, self.clock, role="labeller", observe=requests)
        gauges = {resource: GAUGES[resource] for resource in config.chosen()}
        self.central = Central(
            config,
            self._api,
            self.clock,
            lease=self._lease(config, access),
            prom=PromSource(config.prometheus) if config.prometheus is not None else None,
            agents=AgentSource(config.agents, gauges) if config.agents is not None else None,
            crane=crane_plan(config),
            show=lambda line: self._show(line),
        )
        self._notes_of_files = tuple(str(each) for each in check(given.config))
        self.register(
            [
                ("labeller", Figures(self.central, requests, self.clock)),
                ("config", self.reloads),
                ("http", Clients(self.connections)),
            ]
        )
        register_self(self.registry, options.host, __version__, __revision__, "kernmesh_labeller")

    def needs(self, sockets: Sequence[socket.socket]) -> Needs:
        config = self._first.config
        read = [*reach.named_by(config), *reach.of_kubernetes(config.kubeconfig)]
        return Needs(places=self.places(read))

    def routes(self) -> Sequence[BaseRoute]:
        return routes(self.view, self.central.pressed)

    def tasks(self, start: Start) -> Sequence[Coroutine[Any, Any, None]]:
        give_back()
        self._show = start.show
        start.show(self._screen(start.urls))
        return [self._run()]

    async def _run(self) -> None:
        try:
            await self.central.run()
        finally:
            await self._api.close()

    def ready(self) -> str | None:
        return self.central.ready()

    def read(self) -> Given:
        if self.options.config is None:  # by dynamicScheduler's flags
            return self._first
        found = read(self.options.config)
        if problems := check(found.config):
            raise ConfigError(problems)
        return found

    async def take(self, now: Given) -> Mapping[str, object]:
        return {"nodes": len(self.central.keeper.known)}

    def needs_restart(self, now: Given) -> Iterable[str]:
        for key in LabellerConfig.__struct_fields__:
            if getattr(now.config, key) != getattr(self._first.config, key):
                yield key

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        yield from self._notes_of_files
        yield from self.central.problems()

    def view(self) -> View:
        central, now = self.central, self.clock.monotonic()
        tally = central.fleet.tally if central.keeper.begun else {}
        ended = central.round_ended
        return View(
            version=__version__,
            role=self._role(),
            dry_run=self._first.config.dry_run,
            not_ready=self.ready(),
            nodes=len(central.keeper.known),
            pending=central.keeper.pending,
            round_age=None if ended is None else now - ended,
            rows=[
                Row(
                    each,
                    tally.get((each, "calm"), 0),
                    tally.get((each, "pressed"), 0),
                    tally.get((each, "unknown"), 0),
                )
                for each in (central.fleet.settings if tally else ())
            ],
            marked=central.pressed(),
            problems=tuple(dict.fromkeys(self.problems())),
        )

    def _role(self) -> str:
        lease = self.central.lease
        if lease is None:
            return "the only replica"
        if lease.leads:
            return "holds the lease"
        return f"waits: {lease.holder or 'nobody'} holds the lease"

    def _lease(self, config: LabellerConfig, access: Access) -> Lease | None:
        """Raises KernmeshError."""
        settings = config.lease
        if not settings.enabled:
            return None
        namespace = settings.namespace or access.namespace
        if not namespace:
            raise KernmeshError(
                f"{self._first.file}: lease.namespace: is null, and {access.name} names none; "
                "want the namespace of the Lease, or lease: {enabled: false}"
            )
        return Lease(
            self._api,
            self.clock,
            namespace,
            settings.name,
            f"{platform.node()}_{uuid.uuid4()}",
            duration=float(settings.duration),
            renew_within=float(settings.renew_within),
            retry=float(settings.retry),
        )

    def _screen(self, addresses: Sequence[str]) -> str:
        config = self._first.config
        sources = []
        if config.agents is not None:
            sources.append("agents")
        if config.prometheus is not None:
            sources.append(f"Prometheus at {config.prometheus.url}")
        lines = [
            f"kernmesh labeller {__version__} on {', '.join(addresses)}",
            f"values from {' and '.join(sources)} each {config.interval}; {self._role()}",
        ]
        if config.dry_run:
            lines.append("dry run: nothing is written")
        return "\n".join([*lines, *(f"problem: {each}" for each in self._notes_of_files)])
