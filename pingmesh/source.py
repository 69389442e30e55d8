"""Where the pinglist comes from: a file that is watched, or a controller that is asked.

The rule: each turn says one thing, a list (with its hash), "as before", or why there is none.
What follows from that is not decided here. A controller's answer is bounded in size and time,
redirects are refused, and nothing of it is trusted before it is read as a pinglist.
"""

import asyncio
import random
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from exporter.errors import ConfigError, KernmeshError
from exporter.threads import in_thread
from pingmesh.pinglist import Pinglist, digest, read_pinglist

if TYPE_CHECKING:
    import httpx

LOOK_SECONDS = 2.0
PULL_SECONDS = 60.0
FIRST_RETRY_SECONDS = 5.0
JITTER = 0.2
PULL_TIMEOUT = 15.0
MAX_BYTES = 16 << 20


class Read(NamedTuple):
    """A list and the hash of its bytes."""

    pinglist: Pinglist
    hash: str


class Source(Protocol):
    """`fails_closed` is how many failures in a row stop probing; None: none do."""

    name: str
    fails_closed: int | None

    async def read(self) -> Read | None:
        """None where the list is as it was. Raises KernmeshError, one line for a user."""

    def pause(self, failures: int) -> float:
        """Seconds until the next turn, after so many failures in a row."""


class FileSource:
    """A local file. It is read again when its time, size or inode changes; a ConfigMap's symbolic
    links are followed."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.fails_closed: int | None = None
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    async def read(self) -> Read | None:
        return await in_thread(self._read, "pinglist")

    def _read(self) -> Read | None:
        try:
            status = self._path.stat()
        except OSError as error:
            self._seen = None
            raise KernmeshError(f"{self.name}: cannot be read: {error.strerror}") from error
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._seen:
            return None
        found = Read(*_read_file(self._path))
        self._seen = stamp
        return found

    def pause(self, failures: int) -> float:
        return LOOK_SECONDS


def _read_file(path: Path) -> tuple[Pinglist, str]:
    pinglist = read_pinglist(path)
    return pinglist, digest(path.read_bytes())


class PullSource:
    """`<url>/pinglist/<node>` of a controller; `ca` is a file of certificates to trust."""

    def __init__(
        self, url: str, node: str, period: float = PULL_SECONDS, ca: Path | None = None
    ) -> None:
        self.name = f"{url.rstrip('/')}/pinglist/{quote(node, safe='')}"
        self.fails_closed: int | None = 3
        self._period, self._ca = period, ca
        self._etag: str | None = None
        self._client: httpx.AsyncClient | None = None

    async def read(self) -> Read | None:
        import httpx

        try:
            async with asyncio.timeout(PULL_TIMEOUT):
                answer = await self._pull()
        except TimeoutError:
            raise KernmeshError(f"{self.name}: no answer in {PULL_TIMEOUT:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, zlib.error) as error:
            await self.close()  # the next turn begins with a new connection
            text = str(error) or type(error).__name__
            raise KernmeshError(f"{self.name}: {text}") from error
        if answer is None:
            return None
        body, etag = answer
        try:
            found = await in_thread(
                lambda: Read(read_pinglist(body, self.name), digest(body)), "pinglist"
            )
        except ConfigError as error:
            raise KernmeshError(str(error.problems[0])) from error
        self._etag = etag
        return found

    async def _pull(self) -> tuple[bytes, str | None] | None:
        if self._client is None:
            self._client = await in_thread(self._open, "pinglist client")
        client = self._client
        headers = {"Accept": "application/yaml, text/yaml;q=0.9", "Accept-Encoding": "gzip"}
        if self._etag is not None:
            headers["If-None-Match"] = self._etag
        async with client.stream("GET", self.name, headers=headers) as answer:
            if answer.status_code == 304 and self._etag is not None:
                return None
            if answer.status_code != 200:
                what = (
                    "a redirect, which is not followed"
                    if answer.has_redirect_location
                    else "no list"
                )
                raise ValueError(f"{what}: HTTP {answer.status_code}")
            body = bytearray()
            packed = answer.headers.get("Content-Encoding", "identity") == "gzip"
            unpack = zlib.decompressobj(31)
            async for piece in answer.aiter_raw(64 * 1024):
                room = MAX_BYTES + 1 - len(body)
                body += unpack.decompress(piece, room) if packed else piece
                if len(body) > MAX_BYTES:
                    raise ValueError(f"longer than {MAX_BYTES >> 20} MiB")
            return bytes(body), answer.headers.get("ETag")

    def _open(self) -> "httpx.AsyncClient":
        import ssl

        import httpx

        verify: bool | ssl.SSLContext = False
        if urlsplit(self.name).scheme == "https":
            verify = ssl.create_default_context(cafile=self._ca and str(self._ca))
        return httpx.AsyncClient(
            verify=verify, follow_redirects=False, timeout=PULL_TIMEOUT, trust_env=False
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def pause(self, failures: int) -> float:
        """Jittered, so that a mesh's agents do not come all at once."""
        wait = self._period
        if failures:
            wait = min(self._period, FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 10))
        return wait * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 # not a secret
