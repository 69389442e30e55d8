"""A role's routes as a Starlette app over plain callables: it knows no eBPF and no registry.

What is asked for by scrapers and orchestrators (/metrics, /-/…) is always let in; the other
pages have a limit of requests in flight, so that readers never stand in a scrape's way.
"""

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.errors import KernmeshError
from exporter.web.renders import Busy, Negotiate, Render, Renders

CHUNK_BYTES = 128 * 1024
OTHERS = 32
ALWAYS_IN = frozenset({"/metrics", "/-/healthy", "/-/ready"})
_PAGE_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
LIFECYCLE_OFF = "reload over HTTP is off: start with --web.enable-lifecycle, or send SIGHUP\n"

Reload = Callable[[], Awaitable[None]]
"""Raises KernmeshError where the new configuration is not taken; the old one stays then."""

log = logging.getLogger(__name__)


def create_app(
    *,
    render: Render,
    negotiate: Negotiate,
    ready: Callable[[], str | None],
    reload: Reload | None,
    routes: Sequence[BaseRoute] = (),
    others: int = OTHERS,
) -> ASGIApp:
    """`ready()` is the reason why not, None when ready. `reload` None: lifecycle is off. `routes`
    are the role's own. `others`: requests in flight that are neither /metrics nor health; one more
    gets 503. To be called in the loop that will serve it."""
    table = _operating(render, negotiate, ready, reload)
    return Gate(Router([*table, *routes], redirect_slashes=False), others)


def _operating(
    render: Render, negotiate: Negotiate, ready: Callable[[], str | None], reload: Reload | None
) -> list[BaseRoute]:
    """What every role serves to those who run it: /metrics and /-/…"""
    renders = Renders(render, negotiate)
    reloading = asyncio.Lock()

    async def metrics(request: Request) -> Response:
        accept = ", ".join(request.headers.getlist("accept"))
        encoding = ", ".join(request.headers.getlist("accept-encoding"))
        names = tuple(sorted(set(request.query_params.getlist("name[]"))))
        try:
            rendered = await renders.get(accept, encoding, names)
        except Busy as error:
            return unavailable(str(error))
        except Exception as error:
            return PlainTextResponse(f"render failed: {type(error).__name__}\n", 500)
        return Body(rendered.body, headers=rendered.headers)

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("kernmesh is healthy.\n")

    async def show_ready(_: Request) -> Response:
        reason = ready()
        if reason is not None:
            return PlainTextResponse(f"not ready: {reason}\n", 503)
        return PlainTextResponse("kernmesh is ready.\n")

    async def do_reload(_: Request) -> Response:
        if reload is None:
            return PlainTextResponse(LIFECYCLE_OFF, 403)
        async with reloading:
            try:
                await reload()
            except KernmeshError as error:
                return PlainTextResponse(f"not reloaded, nothing changed: {error}\n", 500)
        return PlainTextResponse("reloaded\n")

    return [
        Route("/metrics", metrics),
        Route("/-/healthy", healthy),
        Route("/-/ready", show_ready),
        Route("/-/reload", do_reload, methods=["PUT", "POST"]),
    ]


def page(html: str, status: int = 200) -> Response:
    """An HTML page. Nothing of it is run, and only the style that is in its head holds."""
    digests = (sha256(style.encode()).digest() for style in _STYLE.findall(html))
    allowed = " ".join(f"'sha256-{b64encode(each).decode()}'" for each in digests) or "'none'"
    policy = (
        f"default-src 'none'; style-src {allowed}; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    headers = {**_PAGE_HEADERS, "content-security-policy": policy}
    return Body(html.encode(), status, headers, "text/html")


class Body(Response):
    """A body in slices of which each waits for the reader: a client that does not read holds a
    reference to what all scrapers share, not a copy of it in its socket's buffer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        body = memoryview(b"" if scope["method"] == "HEAD" else self.body)
        for start in range(0, len(body), CHUNK_BYTES):
            piece = body[start : start + CHUNK_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Gate:
    """Counts what is in flight besides /metrics and health, and turns away what is too much."""

    def __init__(self, app: ASGIApp, others: int) -> None:
        self._app = app
        self._others = others
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in ALWAYS_IN:
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._others:
            await unavailable("too many requests in flight")(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1


def unavailable(reason: str) -> Response:
    return PlainTextResponse(f"{reason}\n", 503, headers={"retry-after": "1"})
