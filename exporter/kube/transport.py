"""Requests to the API server over httpx, each with one whole answer, or a stream of lines.

The rule: nothing that is answered is trusted. Answers are bounded in size and time, redirects are
not followed, what is no JSON is an ApiError. Tokens, certificates and CAs are read anew when their
files change; what stands in a kubeconfig itself, when it is refused. A request is not repeated
here, but for one that was refused by a token that was rotated meanwhile.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import json

from exporter import __version__
from exporter.clock import Clock
from exporter.errors import KernmeshError
from exporter.filestamp import Stamp, stamp
from exporter.kube.access import Access, read_kubeconfig
from exporter.kube.answers import body_of, decoded, from_status, uncompressed
from exporter.kube.api import ApiError, Object
from exporter.kube.trust import tls_context, watched_files
from exporter.threads import in_thread

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 64 << 20
MAX_LINE_BYTES = 8 << 20  # etcd takes objects of 1.5 MiB
MAX_ERROR_BYTES = 64 << 10
TIMEOUT_SECONDS = 30.0
CONNECT_SECONDS = 10.0
MAX_CONNECTIONS = 64
# A watch may be silent for minutes; a peer that is gone is noticed after 30 + 3 × 10 s.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class Asked(NamedTuple):
    """One request that has ended. `resource` as "nodes" or "leases.coordination.k8s.io"; `status`
    None: there was no whole answer."""

    verb: str
    resource: str
    status: int | None
    seconds: float


class Request(NamedTuple):
    """`where` names it in messages. What is "" in `query` is not sent; `body` None is none."""

    where: str
    verb: str
    resource: str
    method: str
    path: str
    query: Mapping[str, str] = {}
    body: Any = None
    content_type: str = "application/json"


class Transport:
    def __init__(
        self,
        access: Access,
        clock: Clock,
        role: str,
        observe: Callable[[Asked], None] | None,
        timeout: float,
        max_bytes: int,
    ) -> None:
        self._access, self._clock = access, clock
        self._agent = f"kernmesh/{__version__} ({role})"
        self._observe = observe
        self._timeout, self._max_bytes = timeout, max_bytes
        self._opening = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None
        self._retired: httpx.AsyncClient | None = None
        self._stamps: tuple[Stamp | None, ...] = ()
        self._made_by: Access | None = None
        self._token = access.token
        self._token_stamp: Stamp | None = None

    async def ask(self, request: Request) -> Object:
        """The object that was answered. Raises ApiError."""
        where = request.where
        began, status = self._clock.monotonic(), None
        try:
            with self._failing(where):
                async with asyncio.timeout(self._timeout), self._open(request) as answer:
                    status = answer.status_code
                    if status not in (200, 201, 202):
                        raise await self._refusal(where, answer)
                    content = await body_of(where, answer, self._max_bytes)
        except ApiError as error:
            status = error.status
            raise
        finally:
            self._tell(request, status, began)
        found = decoded(where, content)
        if not isinstance(found, dict):
            raise ApiError(where, "what was answered is no object")
        return found

    @asynccontextmanager
    async def lines(self, request: Request, seconds: float) -> AsyncIterator[AsyncIterator[Object]]:
        """Objects, one a line, for so many seconds at most (a server that forgets to end is cut
        off a while later). Entering means that the server has accepted. Raises ApiError."""
        began, status = self._clock.monotonic(), None
        async with AsyncExitStack() as stack:
            try:
                with self._failing(request.where):
                    async with asyncio.timeout(self._timeout):
                        answer = await stack.enter_async_context(self._open(request))
                        if answer.status_code != 200:
                            raise await self._refusal(request.where, answer)
                status = answer.status_code
            except ApiError as error:
                status = error.status
                raise
            finally:
                self._tell(request, status, began)
            until = asyncio.get_running_loop().time() + seconds + self._timeout
            yield self._lines(request.where, answer, until)

    async def _lines(
        self, where: str, answer: "httpx.Response", until: float
    ) -> AsyncIterator[Object]:
        """Only the reading is under the deadline, not what the reader does in between."""
        uncompressed(where, answer)
        pieces = answer.aiter_raw()
        rest = bytearray()
        while True:
            with self._failing(where):
                async with asyncio.timeout_at(until):
                    piece = await anext(pieces, None)
            if piece is None:
                break
            rest += piece
            if b"\n" in piece:
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if line.strip():
                        yield decoded(where, line)
            if len(rest) > MAX_LINE_BYTES:
                raise ApiError(where, f"a line is longer than {MAX_LINE_BYTES} bytes")
        if rest.strip():
            raise ApiError(where, "was cut in the middle of a line")

    async def close(self) -> None:
        for client in (self._client, self._retired):
            if client is not None:
                await client.aclose()
        self._client = self._retired = None

    def _tell(self, request: Request, status: int | None, began: float) -> None:
        if self._observe is not None:
            seconds = self._clock.monotonic() - began
            self._observe(Asked(request.verb, request.resource, status, seconds))

    @asynccontextmanager
    async def _open(self, request: Request) -> AsyncIterator["httpx.Response"]:
        """An answer whose head is there. After a 401 the request is made once more if the files say
        by now that we are somebody else."""
        # No compression: 64 KB of it may be 64 MB.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        content = None
        if request.body is not None:
            headers["Content-Type"] = request.content_type
            content = json.encode(request.body)
        for last in (False, True):
            client = await self._connected()
            server_name = self._access.server_name
            token = self._read_token()
            if token:
                headers["Authorization"] = f"Bearer {token}"
            prepared = client.build_request(
                request.method,
                self._access.server + request.path,
                params={name: value for name, value in request.query.items() if value},
                content=content,
                headers=headers,
                extensions={"sni_hostname": server_name} if server_name else {},
            )
            answer = await client.send(prepared, stream=True)
            try:
                if answer.status_code == 401 and not last and await self._renewed(token):
                    continue
                yield answer
                return
            finally:
                await answer.aclose()

    async def _refusal(self, where: str, answer: "httpx.Response") -> ApiError:
        """What a Status object says, or the beginning of whatever was answered."""
        status = answer.status_code
        if 300 <= status < 400:
            return ApiError(where, "a redirect, which is not followed", status)
        content = b""
        with suppress(ApiError):  # the code says enough
            content = await body_of(where, answer, MAX_ERROR_BYTES)
        said: Any = None
        with suppress(ValueError, RecursionError):  # no JSON, no UTF-8, nested without end
            said = json.decode(content)
        if not isinstance(said, dict):
            text = content[:200].decode(errors="replace")
            said = {"message": " ".join(text.split())}
        return from_status(where, said, status, answer.headers.get("Retry-After"))

    async def _renewed(self, token: str) -> bool:
        """Whether there are other credentials now than those that were refused."""
        if self._read_token(True) != token:
            return True
        file, before = self._access.kubeconfig, self._access
        if file is None:
            return False
        try:
            found = await in_thread(partial(read_kubeconfig, file), "kubeconfig")
        except KernmeshError:  # it may be being written
            return False
        if found == before or found.server != before.server:  # another cluster takes a restart
            return False
        self._access, self._token, self._token_stamp = found, found.token, None
        return True

    def _read_token(self, anew: bool = False) -> str:
        """The kubelet exchanges a projected token long before it expires, and an application must
        load it again (docs/tasks/configure-pod-container/configure-service-account)."""
        file = self._access.token_file
        if file is None:
            return self._token
        now = stamp(file)
        if anew or now is None or now != self._token_stamp:
            try:
                self._token = file.read_text("ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "is no text"
                raise KernmeshError(f"{file}: the token cannot be read: {reason}") from error
            self._token_stamp = now
        return self._token

    async def _connected(self) -> "httpx.AsyncClient":
        async with self._opening:
            stamps = tuple(map(stamp, watched_files(self._access)))
            changed = stamps != self._stamps or self._made_by is not self._access
            if self._client is None or changed:
                access = self._access
                client = await in_thread(self._make, "kubernetes client")
                if self._retired is not None:
                    await self._retired.aclose()
                # What is under way on the old connections goes on, until the next exchange.
                self._retired, self._client = self._client, client
                self._stamps, self._made_by = stamps, access
            return self._client

    def _make(self) -> "httpx.AsyncClient":
        import httpx

        transport = httpx.AsyncHTTPTransport(
            verify=tls_context(self._access),
            trust_env=False,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=8),
            socket_options=_KEEP_ALIVE,
        )
        return httpx.AsyncClient(
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # the whole has its own
            headers={"User-Agent": self._agent},
        )

    @contextmanager
    def _failing(self, where: str) -> Iterator[None]:
        """Whatever keeps an answer from coming, as an ApiError without a status."""
        try:
            yield
        except ApiError:
            raise
        except KernmeshError as error:  # a token or a certificate that cannot be read
            raise ApiError(where, str(error)) from error
        except TimeoutError:
            raise ApiError(where, f"{self._access.server}: no answer in time") from None
        except Exception as error:
            import httpx  # here by now, unless it was not this that failed

            # httpx looks where a redirect leads even if it is not followed: ValueError.
            if not isinstance(error, httpx.HTTPError | httpx.InvalidURL | OSError | ValueError):
                raise
            text = str(error) or type(error).__name__
            raise ApiError(where, f"{self._access.server}: {text}") from error
