"""Where the pinglist comes from: a file that is watched, or a controller that is asked.

The rule: each turn says one thing, a list (with its hash), "as before", or why there is none.
What follows from that is not decided here. A controller's answer is bounded in size and time,
redirects are refused, and nothing of it is trusted before it is read as a pinglist.
"""

import asyncio
import random
import zlib
from pathlib import Path
from typing import Literal, NamedTuple, Protocol
from urllib.parse import quote

from exporter.config.client import ClientTls
from exporter.errors import ConfigError, KernmeshError
from exporter.httpclient import HttpClient, TooLong, body
from exporter.identity import BadFile, Identity, tls_problem
from exporter.threads import in_thread
from pingmesh.pinglist import Pinglist, digest, read_pinglist

LOOK_SECONDS = 2.0
PULL_SECONDS = 60.0
FIRST_RETRY_SECONDS = 5.0
JITTER = 0.2
PULL_TIMEOUT = 15.0
MAX_BYTES = 16 << 20
Reason = Literal[
    "file", "content", "connect", "tls", "auth", "timeout", "redirect", "status", "size", "answer"
]
"""Of failures: a file that cannot be read; what came is no pinglist; …; "answer" is broken HTTP."""


class Read(NamedTuple):
    """A list and the hash of its bytes."""

    pinglist: Pinglist
    hash: str


class SourceError(KernmeshError):
    """Why a turn gave no list: one line, and `reason` to count by."""

    def __init__(self, reason: Reason, text: str) -> None:
        self.reason = reason
        super().__init__(text)


class _Refused(Exception):
    """An answer that is none of a controller with a list for us."""

    def __init__(self, reason: Reason, text: str) -> None:
        self.reason = reason
        super().__init__(text)


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
            raise SourceError("file", f"{self.name}: cannot be read: {error.strerror}") from error
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
    """`<url>/pinglist/<node>` of a controller."""

    def __init__(
        self,
        url: str,
        node: str,
        period: float = PULL_SECONDS,
        tls: ClientTls = ClientTls(),  # noqa: B008 # frozen
        bearer_token_file: str | None = None,
    ) -> None:
        self.name = f"{url.rstrip('/')}/pinglist/{quote(node, safe='')}"
        self.fails_closed: int | None = 3
        self._period = period
        self._etag: str | None = None
        self._client = HttpClient(
            Identity("pingmesh", tls, bearer_token_file),
            url.startswith("https:"),
            lambda: {"timeout": PULL_TIMEOUT},
        )

    async def read(self) -> Read | None:
        import httpx

        try:
            async with asyncio.timeout(PULL_TIMEOUT):
                answer = await self._pull()
        except TimeoutError:
            await self.close()
            raise self._failure("timeout", f"no answer in {PULL_TIMEOUT:g} s") from None
        except BadFile as error:
            raise SourceError("file", str(error)) from error
        except _Refused as error:
            await self.close()
            raise self._failure(error.reason, str(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, zlib.error) as error:
            await self.close()  # the next turn begins with a new connection
            if (problem := tls_problem(error, "pingmesh")) is not None:
                raise self._failure("tls", problem) from error
            reason: Reason = "connect" if isinstance(error, httpx.ConnectError) else "answer"
            problem = str(error) or "the connection was cut before there was an answer"
            if isinstance(error, httpx.ReadError) and self.name.startswith("https:"):
                # TLS 1.3: a server looks at our certificate after we have begun to speak, and what
                # it says then is lost when it hangs up at once.
                problem += " (does it want another certificate? pingmesh.tls.cert_file)"
            raise self._failure(reason, problem) from error
        if answer is None:
            return None
        text, etag = answer
        try:
            found = await in_thread(
                lambda: Read(read_pinglist(text, self.name), digest(text)), "pinglist"
            )
        except ConfigError as error:
            raise SourceError("content", str(error.problems[0])) from error
        self._etag = etag
        return found

    def _failure(self, reason: Reason, problem: str) -> "SourceError":
        return SourceError(reason, f"{self.name}: {problem}")

    async def _pull(self) -> tuple[bytes, str | None] | None:
        client, credentials, extensions, _ = await self._client.open()
        headers = {
            "Accept": "application/yaml, text/yaml;q=0.9",
            "Accept-Encoding": "gzip",
            **credentials,
        }
        if self._etag is not None:
            headers["If-None-Match"] = self._etag
        async with client.stream(
            "GET", self.name, headers=headers, extensions=extensions
        ) as answer:
            status = answer.status_code
            if status == 304 and self._etag is not None:
                return None
            if answer.has_redirect_location:
                raise _Refused("redirect", f"a redirect, which is not followed: HTTP {status}")
            if status in (401, 403):
                raise _Refused("auth", f"it does not let us in: HTTP {status}")
            if status != 200:
                raise _Refused("status", f"no list: HTTP {status}")
            try:
                text = await body(answer, MAX_BYTES)
            except TooLong as error:
                raise _Refused("size", str(error)) from error
            return text, answer.headers.get("ETag")

    async def close(self) -> None:
        await self._client.close()

    def pause(self, failures: int) -> float:
        """Jittered, so that a mesh's agents do not come all at once."""
        wait = self._period
        if failures:
            wait = min(self._period, FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 10))
        return wait * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 # not a secret
