"""How a connection begins where TLS is spoken: a handshake, with its deadline and its place.

The rule: who has not finished a handshake takes no place from who is served. The context is the
one that holds when a client connects, so a new one needs no restart. Knows no HTTP.
"""

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, cast

from exporter.web.tls import Secure, names_of

if TYPE_CHECKING:
    from exporter.web.connection import Connection
    from exporter.web.connections import Connections

WRITE_BUFFER_BYTES = 64 * 1024
"""As asyncio has it without TLS; with TLS its default would be eight times that."""
LOG_SECONDS = 60.0
"""Between two lines of one reason."""
_REASONS = {
    "HTTP_REQUEST": "no_tls",
    "HTTPS_PROXY_REQUEST": "no_tls",
    "WRONG_VERSION_NUMBER": "no_tls",
    "UNSUPPORTED_PROTOCOL": "version",
    "NO_SHARED_CIPHER": "cipher",
    "NO_SHARED_GROUP": "cipher",
    "NO_SUITABLE_KEY_SHARE": "cipher",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "CERTIFICATE_VERIFY_FAILED": "bad_certificate",
}

log = logging.getLogger(__name__)


class Knock(asyncio.Protocol):
    """One client until its handshake is over; then it is a Connection."""

    def __init__(self, group: "Connections", secure: Secure) -> None:
        self._group, self._secure = group, secure
        self._loop = asyncio.get_running_loop()
        self.waits_since = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._group.admit(self):
            self._group.refused += 1
            self._transport.abort()
            return
        self._task = self._loop.create_task(self._shake(self._transport))

    def abort(self) -> None:
        """Closes at once; its place is free."""
        self._group.knocking.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    async def _shake(self, transport: asyncio.Transport) -> None:
        early, limits = _Early(), self._group.limits
        inner, reason, detail = None, "closed", ""
        try:
            inner = await self._loop.start_tls(
                transport,
                early,
                self._secure.context,
                server_side=True,
                ssl_handshake_timeout=limits.handshake_seconds,
                ssl_shutdown_timeout=limits.shutdown_seconds,
            )
        except ssl.SSLError as error:
            reason = _REASONS.get(error.reason or "", "other")
            detail = getattr(error, "verify_message", "") or error.reason or ""
        except ConnectionAbortedError:
            reason = "deadline"
        except OSError:  # gone, whatever for
            reason = "closed"
        known = self._group.knocking.pop(self, self) is None
        if inner is None or early.lost:
            if known:  # who had to make room is counted there
                self._failed(reason, detail, transport)
            return
        if self._secure.names is not None:
            found = names_of(inner.get_extra_info("peercert") or {})
            if not found & self._secure.names:
                self._failed("name", " ".join(sorted(found)), transport)
                inner.abort()
                return
        self._group.handshakes["ok"] += 1
        inner.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        connection = self._group.established()
        inner.set_protocol(connection)
        connection.connection_made(inner)
        early.hand_over(connection)

    def _failed(self, reason: str, detail: str, transport: asyncio.Transport) -> None:
        group = self._group
        group.handshakes[reason] += 1
        if reason == "deadline":
            group.timed_out += 1
        now = self._loop.time()
        if reason != "closed" and now - group.told.get(reason, -LOG_SECONDS) >= LOG_SECONDS:
            group.told[reason] = now
            client = (transport.get_extra_info("peername") or ("",))[0]
            said = {"reason": reason, "client": client}
            log.warning("TLS handshake failed", extra=said | ({"detail": detail} if detail else {}))


class _Early(asyncio.Protocol):
    """Keeps what comes right behind the handshake until there is somebody to read it."""

    def __init__(self) -> None:
        self._data: list[bytes] = []
        self._ended = False
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self._data.append(data)

    def eof_received(self) -> None:
        self._ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def hand_over(self, connection: "Connection") -> None:
        for data in self._data:
            connection.data_received(data)
        if self._ended:
            connection.eof_received()
