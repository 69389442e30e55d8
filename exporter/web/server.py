"""Serves an ASGI app on bound sockets until told to stop, and stops within a second or two.

uvicorn's protocol without uvicorn's Server: that one takes over signals, wakes ten times a
second, and waits for connections by polling. Signals belong to the command.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from exporter.web.connections import Connections
from exporter.web.limits import Limits
from exporter.web.listen import BACKLOG

if TYPE_CHECKING:
    from exporter.web.tls import Secure

GRACE_SECONDS = 1.0

log = logging.getLogger(__name__)


class Server:
    """One app on any number of sockets. `connections` has them and their counts."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits | None = None,
        secure: "Callable[[], Secure | None]" = lambda: None,
    ) -> None:
        self.connections = Connections(app, limits or Limits(), secure)
        self._listeners: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serves from here on. The sockets (listen.bind) are the server's now; it closes them."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._listeners.append(
                await loop.create_server(self.connections.connection, sock=sock, backlog=BACKLOG)
            )

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Takes no more connections, closes idle ones, gives answers under way `grace` seconds
        to be taken, and cuts the rest. A second call does nothing."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for knock in list(self.connections.knocking):
            knock.abort()
        for connection in list(self.connections.members):
            connection.shutdown()
        try:
            async with asyncio.timeout(grace):
                await self.connections.empty.wait()
        except TimeoutError:
            left = list(self.connections.members)
            log.info("stopping: connections cut", extra={"connections": len(left)})
            for connection in left:
                connection.abort()
        tasks = list(self.connections.state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:  # a task that does not heed its cancellation is left to the loop's end
            await asyncio.wait(tasks, timeout=grace)


async def serve(server: Server, sockets: Sequence[socket.socket], stop: asyncio.Event) -> None:
    """Serves until `stop` is set; returns when every connection is closed."""
    await server.start(sockets)
    try:
        await stop.wait()
    finally:
        await server.stop()
