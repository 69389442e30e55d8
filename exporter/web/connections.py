"""All connections of a server: who has a place, and who makes room.

The rule: when there is no room, the connection that waits longest for its client makes it; one
that waits for us is never cut off.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from exporter.web.connection import Connection
from exporter.web.limits import Limits
from exporter.web.uvicorn_lean import Config, ServerState

if TYPE_CHECKING:  # who speaks no TLS does not pay for it
    from exporter.web.handshakes import Knock
    from exporter.web.tls import Secure


class Connections:
    """All connections of one server, and the counts of what had to be done to keep it open."""

    def __init__(
        self, app: Any, limits: Limits, secure: "Callable[[], Secure | None]" = lambda: None
    ) -> None:
        """`secure()` is asked for each new connection; None: no TLS is spoken."""
        self.limits = limits
        self._secure = secure
        self.knocking: dict[Knock, None] = {}
        """Whose TLS handshake is not over, the oldest first."""
        self.handshakes: Counter[str] = Counter()
        """Of TLS, by how they ended."""
        self.told: dict[str, float] = {}
        self.state = ServerState()
        self.empty = asyncio.Event()
        self.empty.set()
        self.evicted = 0
        """Closed to make room for a newer connection."""
        self.timed_out = 0
        """Closed because the client let a deadline pass."""
        self.refused = 0
        """Closed at once: no room, and everybody there was being served."""
        self.config = Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            date_header=False,
            interface="asgi3",
            timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type] # for call_later
        )
        self.config.load()

    def connection(self) -> "Connection | Knock":
        """The protocol factory for loop.create_server."""
        secure = self._secure()
        if secure is None:
            return self.established()
        from exporter.web.handshakes import Knock

        return Knock(self, secure)

    def established(self) -> "Connection":
        return Connection(self)

    @property
    def open(self) -> int:
        return len(self.members) + len(self.knocking)

    @property
    def members(self) -> "set[Connection]":
        return self.state.connections  # type: ignore[return-value] # only we make them

    def make_room(self) -> bool:
        """Whether one more may come in; it closes another one for that if need be."""
        if self.open < self.limits.connections:
            return True
        waiting: list[tuple[float, int, Connection | Knock]] = [
            (c.waits_since, id(c), c) for c in self.members if c.waits_since is not None
        ]
        waiting += [(knock.waits_since, id(knock), knock) for knock in self.knocking]
        if not waiting:
            return False
        self.evicted += 1
        min(waiting)[2].abort()
        return True

    def admit(self, knock: "Knock") -> bool:
        """Whether there is room for a handshake. Those that do not end make room for each other."""
        if len(self.knocking) >= self.limits.handshakes:
            self.evicted += 1
            next(iter(self.knocking)).abort()
        if not self.make_room():
            return False
        self.knocking[knock] = None
        return True

    def renew(self) -> None:
        """Each connection ends with the answer that is under way, or now."""
        for connection in list(self.members):
            connection.shutdown()

    def cut_longest_stalled(self, now: float) -> None:
        """Keeps the number of answers held up by their readers, and their memory, bounded."""
        stalled = [(c.stalled_since, id(c), c) for c in self.members if c.stalled_since is not None]
        if len(stalled) <= self.limits.stalled:
            return
        since, _, longest = min(stalled)
        if now - since >= self.limits.stall_grace_seconds:
            self.evicted += 1
            longest.abort()
