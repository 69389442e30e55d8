"""A Kubernetes API server for tests, over real HTTP: enough of one that a client's and an
informer's assumptions can be shown wrong, and can be told to misbehave.

    with api_server() as server: … server.url, server.kubeconfig(folder), server.fail(Fault(…))

Every behaviour cites where Kubernetes says so (AC: https://kubernetes.io/docs/reference/using-api/
api-concepts/), since the same scenarios run against a real kube-apiserver too. Starlette's request
on uvicorn's protocol, in a thread with a loop of its own.
"""

import asyncio
import base64
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from exporter.web.uvicorn_lean import Config, HttpToolsProtocol, ServerState
from tests.cluster.faults import Fault
from tests.cluster.kinds import KINDS, Kind, Release, eviction_version
from tests.cluster.selectors import Matches, field_selector, label_selector
from tests.cluster.store import Expired, Object, Store, Written
from tests.cluster.writes import How, Refused, Target, Writes

ENDLESS_BYTES = 100 << 20
_PIECE = b"x" * (1 << 16)
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

    def __init__(self, release: Release = "current", bookmark_seconds: float | None = None) -> None:
        self.release: Release = release
        self.tokens: set[str] | None = None
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, int]] = []  # method, path with query, status
        self.open_watches = 0
        self.expire_next_token = False
        self.address = ""
        self._store = Store()
        self._writes = Writes(self._store, release)
        self._watchers: set[asyncio.Queue[Written | str]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._store.hearers.add(self._heard)
        self._bookmark_seconds = bookmark_seconds

    # For tests

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
        self.call(self._to_watchers, "bookmark")

    def cut_watches(self) -> None:
        """Every open watch's connection is closed, without an end."""
        self.call(self._to_watchers, "cut")

    def end_watches(self) -> None:
        """Every open watch ends as after its timeoutSeconds."""
        self.call(self._to_watchers, "end")

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
            discovered = self._discover(request.url.path)
            asked = None if discovered else self._read(request)
            failed = await self._failing(request, asked)
            if failed is not None:
                return failed
            if discovered is not None:
                return _json(discovered)
            if asked is None:
                return PlainTextResponse("404 page not found\n", 404)
            return await self._answer(request, asked)
        except Refused as refused:
            return _status(refused)

    def _discover(self, path: str) -> Object | None:
        """AC, "API discovery": /apis/<group> is an APIGroup, /api/v1 an APIResourceList."""
        if path == "/api/v1":
            evict = {
                "name": "pods/eviction",
                "kind": "Eviction",
                "namespaced": True,
                "group": "policy",
                "version": eviction_version(self.release),
                "verbs": ["create"],
            }
            core = [
                {"name": each.plural, "kind": each.kind, "namespaced": each.namespaced}
                for each in KINDS.values()
                if not each.group
            ]
            return {"kind": "APIResourceList", "groupVersion": "v1", "resources": [*core, evict]}
        if path.startswith("/apis/") and path.count("/") == 2:
            group = path.rpartition("/")[2]
            versions = {
                v for k in KINDS.values() if k.group == group for v in k.versions[self.release]
            }
            if versions:
                rows = [{"groupVersion": f"{group}/{v}", "version": v} for v in sorted(versions)]
                return {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": rows}
        return None

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

    async def _failing(self, request: Request, asked: _Asked | None) -> Response | None:
        verb, resource = (asked.verb, asked.target.kind.plural) if asked else ("discover", "")
        fault = next((each for each in self.faults if each.meets(verb, resource)), None)
        if fault is None:
            return None
        fault.met += 1
        fault.reached.set()
        transport: asyncio.Transport = request.scope["state"]["transport"]
        match fault.kind:
            case "status":
                # AC/conventions, "HTTP Status codes": 429 and 5xx may come with Retry-After.
                refused = Refused(fault.status, fault.reason, "told to fail")
                return _status(refused, fault.retry_after)
            case "text":
                return Response(fault.body, fault.status, media_type="text/plain")
            case "garbage":
                return Response(fault.body, media_type="application/json")
            case "redirect":
                return Response(b"", 302, {"location": fault.location})
            case "endless":
                return StreamingResponse(_endless(), media_type="application/json")
            case "half":
                return StreamingResponse(_half(transport), media_type="application/json")
            case "cut":
                transport.abort()
                return Response(b"", 500)
            case "hold":
                while not fault.release.is_set():
                    await asyncio.sleep(0.01)
        return None

    async def _answer(self, request: Request, asked: _Asked) -> Response:
        target, verb = asked.target, asked.verb
        if verb == "watch":
            return self._watch(request, target)
        if verb == "list":
            return _json(self._list(request, target))
        if verb == "get":
            return _json(self._writes.get(target))
        body = await _json_body(request)
        how = _how(request)
        if verb == "create" and target.subresource == "eviction":
            version = eviction_version(self.release)
            self._writes.evict(target, body, version, how)
            return _json({"kind": "Status", "apiVersion": "v1", "status": "Success"}, 201)
        if verb == "create":
            return _json(self._writes.create(target, body, how), 201)
        if verb == "update":
            there = target.key in self._store.objects
            return _json(self._writes.update(target, body, how), 200 if there else 201)
        if verb == "delete":
            found = self._writes.delete(target, body or {}, how)
            return _json(found)
        if verb == "apply":
            there = target.key in self._store.objects
            named = bool(request.query_params.get("fieldManager"))
            return _json(self._writes.apply(target, body, how, named), 200 if there else 201)
        kind = request.headers.get("content-type", "")
        if kind not in _PATCHES:
            want = ", ".join((*_PATCHES, _APPLY))
            message = f"the body of the request was in an unknown format - accepted: {want}"
            raise Refused(415, "UnsupportedMediaType", message)
        return _json(self._writes.patch(target, kind, body, how))

    # Lists and watches

    def _selector(self, request: Request, kind: Kind) -> Matches:
        by_field = field_selector(request.query_params.get("fieldSelector", ""), kind)
        by_label = label_selector(request.query_params.get("labelSelector", ""))
        return lambda found: by_field(found) and by_label(found)

    def _list(self, request: Request, target: Target) -> Object:
        query = request.query_params
        matches = self._selector(request, target.kind)
        more, limit = query.get("continue", ""), int(query.get("limit") or 0)
        if more:
            if query.get("resourceVersion") not in (None, "", "0"):
                message = "specifying resource version is not allowed when using continue"
                raise Refused(400, "BadRequest", message)
            if self.expire_next_token:
                self.expire_next_token = False
                self._store.compact()
            token = json.loads(base64.urlsafe_b64decode(more))
            version, start = token["rv"], token["start"]
            try:
                found = self._store.rest(version)
            except Expired:
                # AC, "Retrieving large results sets in chunks": 410 ResourceExpired.
                message = "The provided continue parameter is too old to display a consistent list"
                raise Refused(410, "Expired", message) from None
        else:
            found = [
                each
                for each in self._store.select(target.kind.plural, target.namespace)
                if matches(each)
            ]
            version, start = self._store.version, 0
            # AC, "Semantics for list": resourceVersion 0 is answered from the cache, where the
            # limit is not looked at (older releases).
            if query.get("resourceVersion") == "0":
                limit = 0
        meta: Object = {"resourceVersion": str(version)}
        stop = start + limit if limit else len(found)
        if stop < len(found):
            self._store.snapshot(found)
            token = json.dumps({"rv": version, "start": stop}).encode()
            meta["continue"] = base64.urlsafe_b64encode(token).decode()
            if not query.get("fieldSelector") and not query.get("labelSelector"):
                meta["remainingItemCount"] = len(found) - stop
        return {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.api_version,
            "metadata": meta,
            # Objects in a list have no kind and apiVersion of their own (AC, "Collections").
            "items": [
                {k: v for k, v in each.items() if k not in ("kind", "apiVersion")}
                for each in found[start:stop]
            ],
        }

    def _watch(self, request: Request, target: Target) -> Response:
        query = request.query_params
        matches = self._selector(request, target.kind)
        if target.name:  # a watch of one object
            name = target.name

            def matches_name(found: Object) -> bool:
                return bool(found["metadata"]["name"] == name)

            chosen: Matches = matches_name
        else:
            chosen = matches
        asked = query.get("resourceVersion", "")
        begin: list[Written] = []
        first: list[Object] = []
        expired = False
        if asked in ("", "0"):
            # AC, "Semantics for watch": begins with an ADDED for everything there is.
            first = [
                each
                for each in self._store.select(target.kind.plural, target.namespace)
                if chosen(each)
            ]
        else:
            try:
                begin = list(self._store.since(int(asked)))
            except Expired:
                expired = True
        queue: asyncio.Queue[Written | str] = asyncio.Queue()
        for each in begin:
            queue.put_nowait(each)
        self._watchers.add(queue)
        seconds = float(query.get("timeoutSeconds") or 1800)
        bookmarks = query.get("allowWatchBookmarks") == "true"
        transport: asyncio.Transport = request.scope["state"]["transport"]

        def event(kind: str, found: Object) -> bytes:
            whole = {"apiVersion": target.api_version, "kind": target.kind.kind} | found
            return json.dumps({"type": kind, "object": whole}).encode() + b"\n"

        async def stream() -> AsyncIterator[bytes]:
            self.open_watches += 1
            try:
                if expired:
                    # AC, "410 Gone": as an event where the watch was already accepted.
                    yield _expired(asked, self._store.compacted)
                    return
                for each in first:
                    yield event("ADDED", each)
                async with asyncio.timeout(seconds):
                    while True:
                        word = await queue.get()
                        if word == "cut":
                            transport.abort()
                            return
                        if word == "end":
                            return
                        if word == "bookmark":
                            if bookmarks:  # AC, "Watch bookmarks"
                                version = str(self._store.version)
                                yield event("BOOKMARK", {"metadata": {"resourceVersion": version}})
                        elif isinstance(word, Written):
                            kind = _seen(word, target, chosen)
                            if kind:
                                yield event(kind, word.last)
            except TimeoutError:
                return
            finally:
                self.open_watches -= 1
                self._watchers.discard(queue)

        return StreamingResponse(stream(), media_type="application/json")

    def _heard(self, written: Written) -> None:
        for queue in self._watchers:
            queue.put_nowait(written)

    def _to_watchers(self, word: str) -> None:
        for queue in self._watchers:
            queue.put_nowait(word)

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


def _seen(written: Written, target: Target, matches: Matches) -> str:
    """What a watcher with this selector is told, "" for nothing: an object that comes to match is
    ADDED, one that no longer does is DELETED (apiserver/pkg/storage/cacher, sendWatchCacheEvent).
    """
    plural, namespace, _ = written.key
    if plural != target.kind.plural or (target.namespace and namespace != target.namespace):
        return ""
    before = written.old is not None and matches(written.old)
    now = written.new is not None and matches(written.new)
    return {(False, True): "ADDED", (True, True): "MODIFIED", (True, False): "DELETED"}.get(
        (before, now), ""
    )


def _json(body: Object, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")


def _status_object(refused: Refused) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": refused.message,
        "reason": refused.reason,
        "details": refused.details,
        "code": refused.code,
    }


def _status(refused: Refused, retry_after: int | None = None) -> Response:
    """conventions, "Response Status Kind"; details.retryAfterSeconds is the header's too
    (apiserver/pkg/endpoints/handlers/responsewriters, ErrorNegotiated)."""
    response = _json(_status_object(refused), refused.code)
    seconds = retry_after or refused.details.get("retryAfterSeconds")
    if seconds:
        response.headers["Retry-After"] = str(seconds)
    return response


def _expired(asked: str, compacted: int) -> bytes:
    refused = Refused(410, "Expired", f"too old resource version: {asked} ({compacted})")
    return json.dumps({"type": "ERROR", "object": _status_object(refused)}).encode() + b"\n"


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(ENDLESS_BYTES // len(_PIECE)):
        yield _PIECE


async def _half(transport: asyncio.Transport) -> AsyncIterator[bytes]:
    yield b'{"kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": ['
    transport.abort()
