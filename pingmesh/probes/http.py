"""HTTP(S) GET, one connection per probe, with the time that each phase took.

The rule: the address is the one that the guard saw; redirects are answers, never followed; of a
body no more than a megabyte is read. asyncio's protocols with httptools: about 0.5 CPU-seconds
per 1,000 probes where httpx takes 2.3 to 2.8 (benchmarks/pingmesh_http.py).
"""

import asyncio
import ssl
import time
from functools import lru_cache
from urllib.parse import urlsplit

import httptools

from exporter import __version__
from pingmesh.address import family_of
from pingmesh.pinglist import Expect
from pingmesh.probe import Outcome, Probe
from pingmesh.probes import Way
from pingmesh.probes.certificate import not_after
from pingmesh.probes.tcp import connect, handshake

MAX_BODY_BYTES = 1 << 20
_MAX_HEAD_BYTES = 64 * 1024


class Answer(asyncio.Protocol):
    """One response, read as it comes. `done` is set when it is whole, cut, or broken."""

    def __init__(self, keep_body: bool) -> None:
        self.done = asyncio.Event()
        self.status = 0
        self.body = bytearray()
        self.problem = ""
        self.first_byte: float | None = None
        self._keep_body = keep_body
        self._read = self._head = 0
        self._in_body = False
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        if self.first_byte is None:
            self.first_byte = self._loop.time()
        self._read += len(data)
        whole = False
        try:
            self._parser.feed_data(data)
            whole = self._whole
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            self._end("protocol")
        if self._head > _MAX_HEAD_BYTES or (not self.status and self._read > _MAX_HEAD_BYTES):
            self._end("protocol")
        elif self._read > MAX_BODY_BYTES:
            self._end("size")
        elif whole:
            self._end("")

    def eof_received(self) -> bool:
        if not self.done.is_set():
            # Without a length the end of the connection is the end of the body.
            self._end("" if self.status and self._in_body and self._until_eof else "reset")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.is_set():
            self._end("reset" if error or not self.status else "")

    def _end(self, problem: str) -> None:
        self.problem = self.problem or problem
        self.done.set()

    # What the parser calls

    _until_eof = True
    _whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._until_eof = False

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            self._in_body = True

    def on_body(self, body: bytes) -> None:
        if self._keep_body:
            self.body += body

    def on_message_complete(self) -> None:
        if self.status:
            self._whole = True
        else:  # 100 Continue and the like: the answer is yet to come
            self._until_eof = True


async def run(probe: Probe, way: Way) -> Outcome:
    """Asks for the target's URL and holds the answer against the group's expectations."""
    url = probe.url or f"http://{_host(probe.host)}:{probe.port}/"
    return await fetch(url, probe.port, way, probe.group.expect, verify=probe.group.verify)


async def fetch(
    url: str,
    port: int,
    way: Way,
    expect: Expect,
    *,
    verify: bool = True,
    context: ssl.SSLContext | None = None,
    headers: str = "",
) -> Outcome:
    """`headers` are whole lines. May raise OSError and TimeoutError."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    started = loop.time()
    sock, took = await connect(way, port)
    _, retransmits = handshake(sock)
    phases = {"connect": took}
    numbers: dict[str, float] = {"tcp_retransmits": retransmits}
    answer = Answer(keep_body=expect.body is not None)
    secure = parts.scheme == "https"
    transport: asyncio.Transport | None = None
    try:
        async with asyncio.timeout_at(way.deadline):
            before = loop.time()
            if secure:
                transport, _ = await loop.create_connection(
                    lambda: answer,
                    sock=sock,
                    ssl=context or tls_context(verify),
                    server_hostname=parts.hostname,
                )
                phases["tls"] = loop.time() - before
                if (expiry := _expiry(transport)) is not None:
                    numbers["tls_expiry_timestamp_seconds"] = expiry
            else:
                transport, _ = await loop.create_connection(lambda: answer, sock=sock)
            asked = loop.time()
            transport.write(_request(parts.hostname or "", port, secure, url, headers))
            await answer.done.wait()
            ended = loop.time()
    except ssl.SSLCertVerificationError as error:
        return Outcome(None, "tls", phases, {"tls_verify_code": float(error.verify_code)})
    except ssl.SSLError:
        return Outcome(None, "tls", phases)
    except ConnectionAbortedError:
        return Outcome(None, "tls" if secure and "tls" not in phases else "reset", phases)
    finally:
        if transport is not None:
            transport.abort()
        else:
            sock.close()
    first = answer.first_byte or ended
    phases["processing"] = first - asked
    phases["transfer"] = ended - first
    numbers["http_status_code"] = float(answer.status)
    reason = answer.problem or _verdict(answer, expect, numbers)
    if reason:
        return Outcome(None, reason, phases, numbers)
    return Outcome(ended - started, "", phases, numbers)


def _verdict(answer: Answer, expect: Expect, numbers: dict[str, float]) -> str:
    good = answer.status in expect.status if expect.status else 200 <= answer.status < 300
    if not good:
        return "status"
    if expect.body is not None:
        import re2

        if not re2.search(expect.body, answer.body.decode("utf-8", "replace")):
            return "body"
    if expect.tls_expiry is not None:
        expiry = numbers.get("tls_expiry_timestamp_seconds")
        if expiry is None or expiry - time.time() < expect.tls_expiry:
            return "tls_expiry"
    return ""


def _request(host: str, port: int, secure: bool, url: str, headers: str) -> bytes:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    name = _host(host) if port == (443 if secure else 80) else f"{_host(host)}:{port}"
    return (
        f"GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: kernmesh/{__version__}\r\n"
        f"Accept: */*\r\nConnection: close\r\n{headers}\r\n"
    ).encode("latin-1")


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host and family_of(host) else host


@lru_cache(maxsize=2)
def tls_context(verify: bool) -> ssl.SSLContext:
    """Shared by all probes: making one reads the system's whole trust store."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _expiry(transport: asyncio.BaseTransport) -> float | None:
    """The end of the certificate's time, verified or not. None where it cannot be read."""
    secure = transport.get_extra_info("ssl_object")
    certificate = secure.getpeercert(binary_form=True) if secure is not None else None
    return not_after(certificate) if certificate else None
