"""A Kubernetes API server for tests, over real HTTP: enough of one that a client's and an
informer's assumptions can be shown wrong, and can be told to misbehave.

    with api_server() as server: … server.url, server.kubeconfig(folder), server.fail(Fault(…))

Every behaviour cites where Kubernetes says so (AC: https://kubernetes.io/docs/reference/using-api/
api-concepts/), since the same scenarios run against a real kube-apiserver too. Starlette's request
on uvicorn's protocol, in a thread with a loop of its own.
"""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from exporter.web.uvicorn_lean import Config, HttpToolsProtocol, ServerState
from tests.cluster.faults import Fault
from tests.cluster.kinds import KINDS, Release, eviction_version
from tests.cluster.reads import Reads
from tests.cluster.responses import as_fault, as_json, as_status
from tests.cluster.store import Object, Store
from tests.cluster.writes import How, Refused, Target, Writes

_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_APPLY = "application/apply-patch+yaml"


class _Asked(NamedTuple):
    """What a request is about; `verb` is RBAC's word (docs/reference/access-authn-authz/
    authorization, "Determine the request verb"), and "apply" for a server-side apply."""

    verb: str
    target: Target


class ApiServer:
    """`release` decides which versions there are. `tokens` None: whoever comes is let in. What
    tests change from their own thread goes through `call`."""

    def __init__(self, release: Release = "current") -> None:
        self.release: Release = release
        self.tokens: set[str] | None = None
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, int]] = []  # method, path with query, status
        self.address = ""
        self._store = Store()
        self._writes = Writes(self._store, release)
        self._reads = Reads(self._store, release)
        self._loop: asyncio.AbstractEventLoop | None = None

    # For tests

    @property
    def open_watches(self) -> int:
        return self._reads.open_watches

    def expire_next_token(self) -> None:
        """The next continue token is met as if its list had been forgotten."""
        self._reads.expire_next_token = True

    def call(self, function: Any, *arguments: Any) -> Any:
        """function(*arguments) in the server's loop; its result or exception."""
        assert self._loop is not None
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(function(*arguments))
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(30)

    def put(self, plural: str, body: Object, namespace: str = "") -> Object:
        """Makes an object, or replaces it, as another client would."""
        return self.call(self._put, plural, body, namespace)  # type: ignore[no-any-return]

    def put_status(self, plural: str, body: Object, namespace: str = "") -> Object:
        """As its kubelet tells of it."""
        return self.call(self._put, plural, body, namespace, "status")  # type: ignore[no-any-return]

    def _put(self, plural: str, body: Object, namespace: str, subresource: str = "") -> Object:
        kind = KINDS[plural]
        name = body["metadata"]["name"]
        target = Target(kind, kind.versions[self.release][0], namespace, name, subresource)
        how = How("kubectl-test")
        if target.key in self._store.objects:
            return self._writes.update(target, body, how)
        return self._writes.create(target, body, how)

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """At once, as with a grace period of 0."""
        self.call(self._store.write, (plural, namespace, name), None)

    def object(self, plural: str, name: str, namespace: str = "") -> Object | None:
        return self.call(self._store.objects.get, (plural, namespace, name))  # type: ignore[no-any-return]

    def compact(self) -> None:
        """History before now is gone: watches from before it, and continue tokens, get a 410."""
        self.call(self._store.compact)

    def bookmark(self) -> None:
        """Every open watch gets one."""
        self.call(self._reads.tell, "bookmark")

    def cut_watches(self) -> None:
        """Every open watch's connection is closed, without an end."""
        self.call(self._reads.tell, "cut")

    def end_watches(self) -> None:
        """Every open watch ends as after its timeoutSeconds."""
        self.call(self._reads.tell, "end")

    def fail(self, fault: Fault) -> Fault:
        """From now on, before all that were told before."""
        self.call(self.faults.insert, 0, fault)
        return fault

    def well(self) -> None:
        """No faults any more; what is held is let go."""
        for fault in self.faults:
            fault.release.set()
        self.call(self.faults.clear)

    @property
    def url(self) -> str:
        return self.address

    def kubeconfig(self, folder: Path, token: str = "test") -> Path:
        """A file in `folder` that leads here."""
        path = folder / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": {"server": self.url}}],
                    "users": [{"name": "test", "user": {"token": token}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                }
            )
        )
        return path

    # HTTP

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        response = await self._respond(request)
        query = f"?{request.url.query}" if request.url.query else ""
        self.requests.append((request.method, request.url.path + query, response.status_code))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        try:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if self.tokens is not None and token not in self.tokens:
                # docs/reference/access-authn-authz/authentication: 401 where no module knows it.
                raise Refused(401, "Unauthorized", "Unauthorized")
            discovered = self._reads.discover(request.url.path)
            asked = None if discovered else self._read(request)
            failed = await self._fail(request, asked)
            if failed is not None:
                return failed
            if discovered is not None:
                return as_json(discovered)
            if asked is None:
                return PlainTextResponse("404 page not found\n", 404)
            return await self._answer(request, asked)
        except Refused as refused:
            return as_status(refused)

    def _read(self, request: Request) -> _Asked | None:
        """AC, "Resource URIs". None where there is nothing of the kind."""
        parts = request.url.path.strip("/").split("/")
        if parts[0] == "api":
            group, version, rest = "", parts[1] if len(parts) > 1 else "", parts[2:]
        elif parts[0] == "apis" and len(parts) > 2:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            return None
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        if not rest or len(rest) > 3 or rest[0] not in KINDS:
            return None
        kind = KINDS[rest[0]]
        if kind.group != group or version not in kind.versions[self.release]:
            return None
        name, subresource = (*rest[1:], "", "")[:2]
        if subresource and not (
            (subresource == "status" and kind.status)
            or (subresource == "eviction" and kind.kind == "Pod")
        ):
            return None
        target = Target(kind, version, namespace, name, subresource)
        return _Asked(_verb(request, target), target)

    async def _fail(self, request: Request, asked: _Asked | None) -> Response | None:
        verb, resource = (asked.verb, asked.target.kind.plural) if asked else ("discover", "")
        fault = next((each for each in self.faults if each.meets(verb, resource)), None)
        if fault is None:
            return None
        fault.met += 1
        fault.reached.set()
        return await as_fault(fault, request.scope["state"]["transport"])

    async def _answer(self, request: Request, asked: _Asked) -> Response:
        target, verb = asked.target, asked.verb
        if verb == "watch":
            transport = request.scope["state"]["transport"]
            stream = self._reads.watch(request.query_params, target, transport)
            return StreamingResponse(stream, media_type="application/json")
        if verb == "list":
            return as_json(self._reads.list(request.query_params, target))
        if verb == "get":
            return as_json(self._writes.get(target))
        body = await _json_body(request)
        how = _how(request)
        if verb == "create" and target.subresource == "eviction":
            version = eviction_version(self.release)
            self._writes.evict(target, body, version, how)
            return as_json({"kind": "Status", "apiVersion": "v1", "status": "Success"}, 201)
        if verb == "create":
            return as_json(self._writes.create(target, body, how), 201)
        if verb == "update":
            there = target.key in self._store.objects
            return as_json(self._writes.update(target, body, how), 200 if there else 201)
        if verb == "delete":
            found = self._writes.delete(target, body or {}, how)
            return as_json(found)
        if verb == "apply":
            there = target.key in self._store.objects
            named = bool(request.query_params.get("fieldManager"))
            return as_json(self._writes.apply(target, body, how, named), 200 if there else 201)
        kind = request.headers.get("content-type", "")
        if kind not in _PATCHES:
            want = ", ".join((*_PATCHES, _APPLY))
            message = f"the body of the request was in an unknown format - accepted: {want}"
            raise Refused(415, "UnsupportedMediaType", message)
        return as_json(self._writes.patch(target, kind, body, how))

    # Its thread

    async def serve(
        self,
        sock: socket.socket,
        tls: ssl.SSLContext | None,
        ready: threading.Event,
        stop: asyncio.Event,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        config = Config(self, log_config=None, access_log=False, lifespan="off")
        config.load()
        state = ServerState()

        def protocol() -> asyncio.Protocol:
            return _Protocol(config=config, server_state=state, app_state={})

        listening = await self._loop.create_server(protocol, sock=sock, ssl=tls)
        ready.set()
        await stop.wait()
        listening.close()
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            task.cancel()


class _Protocol(HttpToolsProtocol):
    """Hands the transport to the app, which is to cut it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


@contextmanager
def api_server(
    release: Release = "current", tls: ssl.SSLContext | None = None
) -> Iterator[ApiServer]:
    """Runs one on a free port of the loopback, and stops it."""
    server = ApiServer(release)
    # With its protocol named, asyncio sets TCP_NODELAY; without, each answer waits 40 ms.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    server.address = f"http{'s' if tls else ''}://127.0.0.1:{sock.getsockname()[1]}"
    ready = threading.Event()
    stopping: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        stop = asyncio.Event()
        stopping.append((asyncio.get_running_loop(), stop))
        await server.serve(sock, tls, ready, stop)

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="api server")
    thread.start()
    try:
        if not ready.wait(30):
            raise TimeoutError("the test API server did not start")
        yield server
    finally:
        server.well()
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


def _verb(request: Request, target: Target) -> str:
    match request.method:
        case "GET" if request.query_params.get("watch") in ("true", "1"):
            return "watch"
        case "GET":
            return "get" if target.name else "list"
        case "POST":
            return "create"
        case "PUT":
            return "update"
        case "DELETE":
            return "delete"
        case "PATCH":
            return "apply" if request.headers.get("content-type") == _APPLY else "patch"
    raise Refused(405, "MethodNotAllowed", "the server does not allow this method")


def _how(request: Request) -> How:
    query = request.query_params
    agent = request.headers.get("user-agent", "unknown").partition("/")[0]
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise Refused(400, "BadRequest", f"dryRun: Unsupported value: {dry_run}")
    return How(query.get("fieldManager") or agent, dry_run == "All", query.get("force") == "true")


async def _json_body(request: Request) -> Any:
    content = await request.body()
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError as error:
        raise Refused(400, "BadRequest", f"the object provided is no JSON: {error}") from error
