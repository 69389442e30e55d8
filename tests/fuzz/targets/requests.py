"""HTTP requests, byte by byte, to a server that has every page that roles serve: the agent's, the
controller's and the labeller's, open and behind credentials.

Whatever was sent, the next well-formed request is answered; and no page fails.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from random import Random
from typing import Any

import bcrypt
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.clock import SystemClock
from exporter.labeller.page import View
from exporter.labeller.page import routes as labeller_routes
from exporter.pages.landing import DEFAULT_LINKS, Status
from exporter.usage import grammar
from exporter.web.app import create_app
from exporter.web.credentials import Known
from exporter.web.guard import Guard, Rules
from exporter.web.limits import Limits
from exporter.web.listen import bind
from exporter.web.pages import landing_routes, statistics_route
from exporter.web.server import Server
from pingmesh.controller_config import MeshConfig
from pingmesh.lists import Lists, Shared
from pingmesh.mesh_watch import MeshWatch
from pingmesh.networks import Made, Networks
from pingmesh.ondemand import probe_route
from pingmesh.serving import Pinglists
from tests.fuzz.loopback import loopback
from tests.fuzz.mutate import spoil_bytes, spoil_text
from tests.fuzz.target import Case, Target
from tests.fuzz.targets.metrics import TOPOLOGY, reading_of

_LIMITS = Limits(request_seconds=1.0, idle_seconds=1.0, write_seconds=1.0)
_STATUS = Status("0.1.0", "node-a", 1.0, None, (), (), DEFAULT_LINKS)
_VIEW = View("0.1.0", "leader", False, None, 2, 0, 1.0, (), ("node-a",), ())
_HEALTHY = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
_TOKEN = "sesame"


class _Watch:
    """An ASGI app that remembers what its app raised: uvicorn makes a 500 of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failed: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            self.failed = error
            raise


class _Ground:
    def __init__(self, closed: bool) -> None:
        watch = MeshWatch("/mesh", MeshConfig(), lambda: lists, lambda: None, SystemClock(), "1")
        watch.reading = reading_of({})
        lists = Lists(TOPOLOGY, Shared())
        networks = Networks({"nodes": Made(lists)}, waiting=False)
        app = create_app(
            render=lambda accept, encoding, names: (b"x 1\n", {"content-type": "text/plain"}),
            negotiate=lambda accept, encoding: (accept, encoding),
            ready=lambda: "not yet",
            reload=None,
            routes=(
                *landing_routes(lambda: _STATUS),
                statistics_route(_statistics),
                probe_route(None),
                *watch.routes(),
                *labeller_routes(lambda: _VIEW, lambda: ["node-a"])[1:],
            ),
        )
        app = Pinglists(app, lambda: networks, lambda: "é stale")
        if closed:
            app = Guard(app, _rules, SystemClock())
        self.watch = _Watch(app)
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        self.server = Server(self.watch, _LIMITS)
        [sock] = bind(["127.0.0.1:0"])
        self.port: int = sock.getsockname()[1]
        loopback().loop.run_until_complete(self.server.start([sock]))

    async def ask(self, data: bytes) -> bytes:
        """Sent in two pieces where its length is odd, and then no more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            half = len(data) // 2 if len(data) % 2 else 0
            writer.write(data[:half])
            if half:
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(data[half:])
            writer.write_eof()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


def _statistics(window: str | None) -> str:
    return json.dumps({"cpu": 1.0 if window is None else grammar.parse_window(window)})


@cache
def _rules() -> Rules:
    users = {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(4))}
    known = Known(users, (sha256(_TOKEN.encode()).digest(),))
    headers = ((b"x-frame-options", b"deny"),)
    return Rules(known, frozenset(("/-/healthy",)), headers, None)


@cache
def _ground(closed: bool) -> _Ground:
    return _Ground(closed)


def _asked(closed: bool, data: bytes) -> None:
    ground = _ground(closed)
    loop = loopback().loop
    broken: list[Any] = []
    loop.set_exception_handler(lambda _, context: broken.append(context))
    ground.watch.failed = None
    try:
        loopback().play(lambda: ground.ask(data), b"")
        good = loopback().play(lambda: ground.ask(_HEALTHY), b"")
    finally:
        loop.set_exception_handler(None)
    if ground.watch.failed is not None:
        raise ground.watch.failed
    for context in broken:
        raise context.get("exception") or AssertionError(context["message"])
    assert good.startswith(b"HTTP/1.1 200 OK\r\n"), good


def _open(data: bytes) -> None:
    _asked(False, data)


def _closed(data: bytes) -> None:
    _asked(True, data)


def _request(target: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: a", *lines, "", "")).encode() + body


_TARGETS = (
    *("/", "/status.json", "/metrics?name[]=x&name[]=y", "/statistics?window=15m", "/-/ready"),
    *("/probe?target=http://[::1]/&module=ping", "/mesh?rack=z/r0&to=z/r1&row=1&column=2"),
    *("/mesh?zone=z&to_zone=z", "/mesh.json", "/mesh?node=n00&peer=n11", "/pinglist/n00", "/nodes"),
    *("http://a/metrics", "/%2e%2e/metrics", "/pinglist/%00%ff", "*"),
)


def _seeds() -> Sequence[bytes]:
    return [
        *(
            _request(target, "Accept: text/html;q=0.9, */*", "Connection: close")
            for target in _TARGETS
        ),
        _request("/metrics", "Accept-Encoding: gzip;q=1.0", method="HEAD") * 3,
        _request("/-/reload", "Content-Length: 3", method="POST", body=b"abc"),
        _request("/", "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n0\r\n\r\n"),
        _request("/pinglist/n00", 'If-None-Match: W/"x", *', "Accept: application/json;q=0.5"),
        _request("/", "Upgrade: websocket", "Connection: Upgrade"),
        _request("/", "Expect: 100-continue", "Content-Length: 2", method="PUT", body=b"ab"),
    ]


def _locked() -> Sequence[bytes]:
    lines = ("Basic YWxpY2U6c2VjcmV0", f"Bearer {_TOKEN}", "Basic YWxpY2U6", "Basic =", "Digest x")
    return [_request("/", f"Authorization: {line}", "Connection: close") for line in lines]


def spoil_request(data: bytes, chance: Random) -> bytes:
    """Its target mostly; else lines, else bytes."""
    match chance.randrange(4):
        case 0:
            return spoil_bytes(data, chance)
        case 1:
            return spoil_text(data.replace(b"\r", b""), chance).replace(b"\n", b"\r\n")
        case _:
            method, _, rest = data.partition(b" ")
            target, blank, rest = rest.partition(b" ")
            return b"%s %s%s%s" % (method, spoil_bytes(target, chance), blank, rest)


TARGET = Target(
    "requests",
    "HTTP requests: heads, targets, bodies, credentials, to all pages of all roles",
    (
        Case("open", _open, _seeds, spoil_request, ()),
        Case("closed", _closed, _locked, spoil_request, ()),
    ),
    4096,
)
