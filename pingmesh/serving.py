"""GET /pinglist/{node}: an ASGI app of its own, because thousands of agents ask at once.

The rule: what an agent has already costs a dictionary look-up and no body (RFC 9110, 13.1.2 and
8.8.3: each representation has its own strong validator). Knows no sources and no reloads.
"""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pingmesh.networks import Networks

PREFIX = "/pinglist/"
YAML_TYPE = b"application/yaml"
JSON_TYPE = b"application/json"
_QUALITY = re.compile(r";\s*q=([^;,\s]*)")
_COMMON = [(b"vary", b"accept, accept-encoding"), (b"cache-control", b"no-cache")]


class Pinglists:
    """In front of `app`, which gets all other paths. `networks()` are the current ones; `stale()`
    is why the members may be out of date, None while they are not."""

    def __init__(
        self, app: ASGIApp, networks: Callable[[], Networks], stale: Callable[[], str | None]
    ) -> None:
        self._app = app
        self._networks = networks
        self._stale = stale
        self.served: Counter[int] = Counter()
        """Answers by status."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if not path.startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        start, body = self._answer(path[len(PREFIX) :], scope["method"], scope["headers"])
        self.served[start["status"]] += 1
        await send(start)
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.body", "body": body})

    def _answer(
        self, name: str, method: str, headers: Sequence[tuple[bytes, bytes]]
    ) -> tuple[Message, bytes]:
        if method not in ("GET", "HEAD"):
            return _text(405, "GET or HEAD it is", (b"allow", b"GET, HEAD"))
        networks = self._networks()
        lists = networks.of(name)
        if lists is None and networks.waiting:
            return _text(503, "the members are not known yet", (b"retry-after", b"5"))
        if lists is None:
            return _text(404, f"no node {name!r} among the members")
        accept, encoding, held = "", "", b""
        for key, value in headers:
            if key == b"if-none-match":
                held += b"," + value
            elif key == b"accept":
                accept += "," + value.decode("latin-1")
            elif key == b"accept-encoding":
                encoding += "," + value.decode("latin-1")
        json = "json" in accept and _prefers_json(accept)
        gzip = "gzip" in encoding and _quality(encoding, "gzip") > 0
        digest = lists.digest(name)
        etag = f'"{digest}{"-json" if json else ""}{"-gzip" if gzip else ""}"'.encode()
        answer = [(b"etag", etag), *_COMMON]
        if stale := self._stale():
            answer.append((b"x-kernmesh-stale", stale.encode("ascii", "replace")))
        if held and _matches(held, etag):
            return {"type": "http.response.start", "status": 304, "headers": answer}, b""
        body = lists.json(name) if json else lists.yaml(name)
        if gzip:
            packer = zlib.compressobj(1, wbits=31)
            body = packer.compress(body) + packer.flush()
            answer.append((b"content-encoding", b"gzip"))
        answer.append((b"content-type", JSON_TYPE if json else YAML_TYPE))
        answer.append((b"content-length", b"%d" % len(body)))
        return {"type": "http.response.start", "status": 200, "headers": answer}, body


def _matches(held: bytes, etag: bytes) -> bool:
    """RFC 9110, 13.1.2: weakly compared, so that a proxy's W/ does no harm."""
    tags = held.replace(b" ", b"").replace(b"W/", b"").split(b",")
    return etag in tags or b"*" in tags


def _text(status: int, text: str, *headers: tuple[bytes, bytes]) -> tuple[Message, bytes]:
    body = f"{text}\n".encode()
    fixed = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        *headers,
    ]
    return {"type": "http.response.start", "status": status, "headers": fixed}, body


def _prefers_json(accept: str) -> bool:
    """YAML in a tie: it is what a file holds."""
    yaml = max(_quality(accept, word) for word in ("yaml", "*/*", "text/*"))
    return _quality(accept, "json") > yaml


def _quality(header: str, word: str) -> float:
    """Of the first entry that has the word; 0 without one."""
    for entry in header.split(","):
        if word in entry:
            found = _QUALITY.search(entry)
            try:
                return float(found[1]) if found else 1.0
            except ValueError:
                return 0.0
    return 0.0
