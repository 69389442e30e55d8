"""The mesh from the agent's settings: which source, which guard, which addresses to answer on."""

import platform
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from starlette.routing import BaseRoute

from exporter.clock import Clock
from exporter.errors import KernmeshError
from pingmesh.agent import Mesh
from pingmesh.guard import Guard
from pingmesh.ondemand import probe_route
from pingmesh.source import FileSource, PullSource, Source


def make_mesh(
    clock: Clock,
    *,
    pinglist: str | None,
    controller: str | None,
    allow: Sequence[str],
    deny: Sequence[str],
    max_pps: int,
    node: str | None,
    tidy: Callable[[], None],
) -> Mesh:
    """`node` is this node's name at the controller, None: the host's. A list that is pulled passes
    `allow` and `deny`; a file is the administrator's own. `tidy` gives memory back. Raises
    KernmeshError."""
    if pinglist is not None and controller is not None:
        raise KernmeshError(
            "pingmesh.pinglist and pingmesh.controller are both set: take one of them out"
        )
    try:
        guard = Guard(allow, deny)
    except ValueError as error:
        raise KernmeshError(f"pingmesh.allow, pingmesh.deny: {error}") from error
    source: Source | None = None
    if pinglist is not None:
        source, listed = FileSource(Path(pinglist)), Guard()
    elif controller is not None:
        source, listed = PullSource(controller, node or platform.node()), guard
    else:
        listed = guard
    return Mesh(clock, source, listed, max_pps, tidy=tidy)


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
