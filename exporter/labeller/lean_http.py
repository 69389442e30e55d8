"""GETs to thousands of agents: one connection each, one answer after the other, all bounded.

The rule: an answer is a 200 with a body of `most` bytes in the time there is, or a KernmeshError;
nothing is followed, nothing is unpacked. httpx takes ten times the CPU for the same.
"""

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import httptools

from exporter.errors import KernmeshError
from exporter.identity import tls_problem

# Ended by a reset: thousands of connections a round would leave as many in TIME_WAIT, and what was
# asked for is there (socket(7), SO_LINGER).
_NO_LINGER = struct.pack("ii", 1, 0)


class Manner(NamedTuple):
    """How they are asked. `context` None: without TLS. `server_name` is what a certificate must be
    for, "" the host; `section` names the settings in messages."""

    context: ssl.SSLContext | None = None
    server_name: str = ""
    headers: Mapping[str, str] = {}
    section: str = ""


PLAIN = Manner()


class Reply(Exception):
    """A whole answer that is no 200: `status`."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"HTTP {status}")


class _Get(asyncio.Protocol):
    """A connection that asks one path at a time."""

    def __init__(self, most: int, manner: Manner) -> None:
        self._most, self._section = most, manner.section
        self._more = "".join(f"{name}: {text}\r\n" for name, text in manner.headers.items())
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[bytes] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._body = bytearray()
        self._headed = self._sized = self._gone = False
        # Of TLS 1.3 a server's no to our certificate comes after the handshake, if it says any.
        section = manner.section
        self._hint = f" (does it want a certificate? {section}.tls.cert_file)" if section else ""

    def ask(self, host: str, path: str) -> "asyncio.Future[bytes]":
        self._done = self._loop.create_future()
        self._body = bytearray()
        self._headed = self._sized = False
        self._parser = httptools.HttpResponseParser(self)
        if self._gone or self._transport is None:
            self._fail(KernmeshError(f"the connection was closed{self._hint}"))
        else:
            head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
            self._transport.write(f"{head}{self._more}\r\n".encode())
        return self._done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
        )
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        self._hint = ""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(KernmeshError("wants another protocol"))
        except httptools.HttpParserError as error:
            self._fail(KernmeshError(f"no HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        # A body without a length ends with its connection (RFC 9112, 6.3).
        if exc is None and self._headed and not self._sized:
            self.on_message_complete()
        problem = tls_problem(exc, self._section) if exc is not None else None
        self._fail(KernmeshError(problem or f"the connection was closed{self._hint}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._sized |= name in (b"content-length", b"transfer-encoding")
        if name == b"content-encoding" and value != b"identity":
            self._fail(KernmeshError("is packed, which was not asked for"))

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._most:
            self._fail(KernmeshError(f"is longer than {self._most} bytes"))

    def on_message_complete(self) -> None:
        if self._done is None or self._done.done() or self._parser is None:
            return
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer
            return
        if status == 200:
            self._done.set_result(bytes(self._body))
        else:
            self._done.set_exception(Reply(status))

    def _fail(self, error: KernmeshError) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
        self.close()

    def close(self) -> None:
        self._gone = True
        if self._transport is not None:
            self._transport.abort()


async def get_all(
    host: str,
    port: int,
    paths: Sequence[str],
    most: int,
    seconds: float,
    manner: Manner = PLAIN,
) -> list[bytes | Reply | KernmeshError]:
    """What each path answered, in turn; all of them have `seconds` together. Where one is no whole
    answer, it and those after it are that error."""
    name = f"[{host}]" if ":" in host else host
    found: list[bytes | Reply | KernmeshError] = []
    connection: _Get | None = None
    try:
        async with asyncio.timeout(seconds):
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(
                lambda: _Get(most, manner),
                host,
                port,
                ssl=manner.context,
                server_hostname=(manner.server_name or host) if manner.context else None,
            )
            for path in paths:
                try:
                    found.append(await connection.ask(f"{name}:{port}", path))
                except Reply as reply:
                    found.append(reply)
    except TimeoutError:
        return _filled(found, paths, KernmeshError(f"no answer in {seconds:g} s"))
    except KernmeshError as error:
        return _filled(found, paths, error)
    except (OSError, UnicodeError, ValueError) as error:
        number = getattr(error, "errno", None) or 0  # whose text has no address in it
        reason = tls_problem(error, manner.section) or (
            os.strerror(number) if number > 0 else str(error) or type(error).__name__
        )
        return _filled(found, paths, KernmeshError(reason))
    finally:
        if connection is not None:
            connection.close()
    return found


def _filled(
    found: list[bytes | Reply | KernmeshError], paths: Sequence[str], error: KernmeshError
) -> list[bytes | Reply | KernmeshError]:
    return found + [error] * (len(paths) - len(found))
