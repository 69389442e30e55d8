"""One scrape as a well-behaved client makes it, and what became of it. Pure asyncio, no library:
fifty of them must cost less than what they ask.
"""

import asyncio
import gzip
import json
import time
from typing import NamedTuple

TIMEOUT_SECONDS = 10.0
"""Prometheus' default scrape_timeout."""
FORMATS = {
    "text": "text/plain; version=0.0.4",
    "openmetrics": "application/openmetrics-text; version=1.0.0",
}
_IN_EVERY_PAGE = b"kernmesh_build_info"


class Scrape(NamedTuple):
    """`begin` and `end` on the monotonic clock, which all processes share. `why` is "" where the
    whole page came and is one."""

    agent: str
    begin: float
    end: float
    bytes: int
    why: str

    def line(self) -> str:
        return json.dumps(self._asdict())


class Scraper:
    """Keeps its connection between scrapes if `keeps`, as Prometheus does."""

    def __init__(self, agent: str, port: int, format: str, zipped: bool, keeps: bool) -> None:
        self._agent, self._port, self._keeps = agent, port, keeps
        close = "" if keeps else "Connection: close\r\n"
        encoding = "gzip" if zipped else "identity"
        self._request = (
            f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {FORMATS[format]}\r\n"
            f"Accept-Encoding: {encoding}\r\n{close}\r\n"
        ).encode()
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def scrape(self) -> Scrape:
        begin = time.monotonic()
        size, why = 0, ""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                size, why = await self._ask()
        except TimeoutError:
            why = "timeout"
        except (OSError, EOFError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
        if why or not self._keeps:
            self._close()
        return Scrape(self._agent, begin, time.monotonic(), size, why)

    async def _ask(self) -> tuple[int, str]:
        if self._open is not None:
            try:  # a kept one may be gone: then it is asked anew, as RFC 9110, 9.2.2 has it
                return await self._once(*self._open)
            except (OSError, EOFError):
                self._close()
        self._open = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        return await self._once(*self._open)

    async def _once(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, str]:
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        if " 200 " not in status:
            return len(body), status
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return len(body), "" if _IN_EVERY_PAGE in body else "a page that is none"

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].transport.abort()
            self._open = None
