"""The served app on a real socket, and a client that sends exactly the bytes it is told."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from exporter.pages.landing import DEFAULT_LINKS, Status
from exporter.web.app import create_app
from exporter.web.limits import Limits
from exporter.web.listen import bind
from exporter.web.pages import landing_routes, statistics_route
from exporter.web.server import Server

WATCHDOG_SECONDS = 30.0
STATUS = Status("0.1.0", "node-a", 1.0, None, (), (), DEFAULT_LINKS)


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Client(NamedTuple):
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, head_only: bool = False) -> Answer:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        headers = {key.lower(): value for key, value in pairs}
        size = 0 if head_only else int(headers["content-length"])
        return Answer(int(lines[0].split()[1]), headers, await self.reader.readexactly(size))

    async def ask(self, path: str, method: str = "GET") -> Answer:
        self.send(f"{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        return await self.answer(head_only=method == "HEAD")

    async def closed(self) -> bytes:
        """Waits until the server has closed; what came before that, or b"" after a reset."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


class Agent:
    """A served app. `renders` are the calls that reached the renderer; while `gate` is not set
    they wait in it, at most as long as the watchdog."""

    def __init__(self, limits: Limits, body: bytes, options: dict[str, Any]) -> None:
        self.body = body
        self.renders: list[tuple[str, str, tuple[str, ...]]] = []
        self.gate = threading.Event()
        self.gate.set()
        defaults: dict[str, Any] = {
            "render": self.render,
            "negotiate": lambda accept, encoding: (accept, encoding),
            "ready": lambda: None,
            "reload": None,
        }
        secure = options.pop("secure", lambda: None)
        statistics = options.pop("statistics", lambda window: '{"cpu_usage_active":6.80}')
        status = options.pop("status", lambda: STATUS)
        own = (*landing_routes(status), statistics_route(statistics), *options.pop("routes", ()))
        self.app = create_app(**(defaults | options), routes=own)
        self.server = Server(self.app, limits, secure)
        [self.socket] = bind(["127.0.0.1:0"])
        self.port: int = self.socket.getsockname()[1]

    def render(
        self, accept: str, encoding: str, names: tuple[str, ...]
    ) -> tuple[bytes, Mapping[str, str]]:
        self.renders.append((accept, encoding, names))
        if not self.gate.wait(WATCHDOG_SECONDS):
            raise TimeoutError("the test never opened the gate")
        return self.body, {"content-type": "text/plain; version=0.0.4; charset=utf-8"}

    async def connect(self, receive_buffer: int | None = None) -> Client:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return Client(*await asyncio.open_connection(sock=sock))

    async def ask(self, path: str, method: str = "GET") -> Answer:
        return await (await self.connect()).ask(path, method)

    @property
    def being_answered(self) -> int:
        return sum(member.waits_since is None for member in self.server.connections.members)


@asynccontextmanager
async def serving(
    limits: Limits | None = None, body: bytes = b"x 1\n", **options: Any
) -> AsyncIterator[Agent]:
    agent = Agent(limits or Limits(), body, options)
    await agent.server.start([agent.socket])
    try:
        yield agent
    finally:
        agent.gate.set()
        await agent.server.stop(grace=0.05)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until something has happened in it; the watchdog bounds it."""
    while not condition():
        await asyncio.sleep(0)


def play(test: Callable[[], Awaitable[None]]) -> None:
    """Runs an async test to its end, or fails it when it hangs."""

    async def watched() -> None:
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await test()

    asyncio.run(watched())
