"""An HTTP client that shows a server who we are: for pinglists, results, and a Prometheus' values.

The rule: each turn is made with the certificates and the token that the files have now
(identity.py); an answer is bounded in size and time as a whole, also unpacked, and redirects are
not followed. Knows nothing of what is asked for. (The Kubernetes API's is kube/transport.py: it
streams, and exchanges credentials when they are refused. Thousands of agents a round are asked
more cheaply by labeller/lean_http.py.)
"""

import asyncio
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from exporter.config import Duration
from exporter.errors import KernmeshError
from exporter.identity import Identity, Seen, tls_problem
from exporter.threads import in_thread

if TYPE_CHECKING:
    import httpx

_READ_BYTES = 64 << 10


class TooLong(KernmeshError):
    """An answer of more bytes than it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"longer than {most >> 20} MiB")


class Opened(NamedTuple):
    """`headers` say who we are; `extensions` are httpx's, of the request; `section` names the
    settings in messages."""

    client: "httpx.AsyncClient"
    headers: Mapping[str, str]
    extensions: Mapping[str, str]
    section: str


class HttpClient:
    """`open` before each turn; what it gives is good for that one, and there is one at a time.
    `options` are httpx's, besides whom it trusts; asked for in a thread."""

    def __init__(
        self, identity: Identity, secure: bool, options: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._identity, self._secure, self._options = identity, secure, options
        self._client: httpx.AsyncClient | None = None
        self._seen = Seen({}, {})
        name = identity.tls.server_name
        self._extensions = {"sni_hostname": name} if name else {}

    async def open(self) -> Opened:
        """Raises BadFile."""
        section = self._identity.section
        seen = await in_thread(self._identity.look, f"{section} files")
        if self._client is not None and seen.stamps != self._seen.stamps:
            await self.close()
        if self._client is None:
            self._client = await in_thread(self._make, f"{section} client")
        self._seen = seen
        return Opened(self._client, seen.headers, self._extensions, section)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _make(self) -> "httpx.AsyncClient":
        import httpx

        return httpx.AsyncClient(
            verify=self._identity.context() if self._secure else False,
            follow_redirects=False,
            trust_env=False,
            **self._options(),
        )


async def fetch(
    opened: Opened,
    url: str,
    timeout: Duration,
    most: int,
    form: Mapping[str, str] | None = None,
    quoted: int = 0,
) -> bytes:
    """The body of a 200, of `most` bytes at most; asked for by POST where there is a form. Raises
    KernmeshError, whose text does not name the URL and quotes so many bytes of another answer."""
    import httpx

    try:
        async with (
            asyncio.timeout(timeout),
            opened.client.stream(
                "GET" if form is None else "POST",
                url,
                data=form,
                headers=opened.headers,
                extensions=opened.extensions,
            ) as answer,
        ):
            if answer.status_code != 200:
                said = await _begin(answer, quoted) if quoted else ""
                raise KernmeshError(f"HTTP {answer.status_code}{said and f': {said}'}")
            return await body(answer, most)
    except TimeoutError:
        raise KernmeshError(f"no answer in {timeout}") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, zlib.error) as error:
        # httpx looks where a redirect leads even if it is not followed: ValueError.
        text = tls_problem(error, opened.section) or str(error) or type(error).__name__
        raise KernmeshError(text) from error


async def body(answer: "httpx.Response", most: int) -> bytes:
    """All of it, unpacked where it came as gzip. Raises TooLong before it has taken more memory
    than that, and zlib.error besides httpx's."""
    found = bytearray()
    packed = answer.headers.get("Content-Encoding", "identity") == "gzip"
    unpack = zlib.decompressobj(31)
    async for piece in answer.aiter_raw(_READ_BYTES):
        found += unpack.decompress(piece, most + 1 - len(found)) if packed else piece
        if len(found) > most:
            raise TooLong(most)
    return bytes(found)


async def _begin(answer: "httpx.Response", most: int) -> str:
    async for piece in answer.aiter_bytes(most):
        return " ".join(piece.decode(errors="replace").split())
    return ""
