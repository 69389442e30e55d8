"""The agent's own pages as routes over plain callables: / and /statistics."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from exporter.pages.landing import Status, landing_page
from exporter.threads import in_thread
from exporter.web.app import PAGE_HEADERS, Body


def landing_route(status: Callable[[], Status]) -> BaseRoute:
    """`status()` is called in the loop, where the state belongs; only the template works in a
    thread."""

    async def landing(_: Request) -> Response:
        now = status()
        page = await in_thread(lambda: landing_page(now), "page")
        return Body(page.encode(), headers=PAGE_HEADERS, media_type="text/html")

    return Route("/", landing)


def statistics_route(statistics: Callable[[str | None], str]) -> BaseRoute:
    """`statistics(window)` is JSON for what `?window=` says, None without it, and raises ValueError
    for what is no window."""

    async def show_statistics(request: Request) -> Response:
        window = request.query_params.get("window")
        try:
            # A day's window is milliseconds of sorting.
            text = await in_thread(lambda: statistics(window), "statistics")
        except ValueError as error:
            return PlainTextResponse(f"window: {error}\n", 400)
        return Response(text, media_type="application/json")

    return Route("/statistics", show_statistics)
