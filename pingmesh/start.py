"""The mesh from the agent's settings: which source, which guard, which addresses to answer on."""

import platform
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from starlette.routing import BaseRoute

from exporter.clock import Clock
from exporter.config.pingmesh import Pingmesh
from exporter.errors import ConfigError, Problem
from exporter.identity import Identity
from pingmesh.agent import Mesh
from pingmesh.guard import Guard
from pingmesh.ondemand import probe_route
from pingmesh.pinglist import read_pinglist
from pingmesh.source import FileSource, PullSource, Source


def make_mesh(
    clock: Clock, config: Pingmesh, *, node: str | None, tidy: Callable[[], None]
) -> Mesh:
    """`node` is this node's name at the controller, None: the host's. A list that is pulled passes
    `allow` and `deny`; a file is the administrator's own. `tidy` gives memory back."""
    source: Source | None = None
    listed = Guard(config.allow, config.deny)
    if config.pinglist is not None:
        source, listed = FileSource(Path(config.pinglist)), Guard()
    elif config.controller is not None:
        source = PullSource(
            config.controller,
            node or platform.node(),
            tls=config.tls,
            bearer_token_file=config.bearer_token_file,
        )
    return Mesh(clock, source, listed, config.max_pps, config.max_classes, tidy=tidy)


def check(config: Pingmesh, file: Path) -> Iterator[Problem]:
    """What is wrong in the files that section pingmesh of this file names: a pinglist, the CA,
    our certificate and key, the token. None of it keeps an agent from starting."""
    if config.pinglist is not None:
        try:
            read_pinglist(Path(config.pinglist))
        except ConfigError as error:
            yield from error.problems
    yield from Identity("pingmesh", config.tls, config.bearer_token_file).check(file)


def probe_page(allow: Sequence[str], deny: Sequence[str]) -> BaseRoute:
    """`/probe`; off where nothing is allowed. To be called in the loop."""
    return probe_route(Guard(allow, deny) if allow else None)


def addresses(sockets: Sequence[socket.socket]) -> Iterator[tuple[str, int]]:
    """Where the UDP responder answers: on the addresses and ports that the server listens on.
    "" stands for all addresses of both families."""
    for sock in sockets:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            host, port = sock.getsockname()[:2]
            dual = sock.family == socket.AF_INET6 and not sock.getsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
            )
            yield ("" if host == "::" and dual else host), port
