"""The agent's own pages as routes over plain callables: /, /status.json and /statistics."""

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from exporter.pages.landing import Status, landing_page
from exporter.pages.section import Chart
from exporter.pages.status_json import status_json
from exporter.threads import in_thread
from exporter.web.app import Body, page


def landing_routes(
    status: Callable[[], Status], charts: Callable[[], Sequence[Chart]] = tuple
) -> tuple[BaseRoute, ...]:
    """`status()` is called in the loop, where the state belongs; only `charts()` and what puts them
    into words work in a thread."""

    async def landing(_: Request) -> Response:
        now = status()
        return page(await in_thread(lambda: landing_page(now, charts()), "page"))

    async def as_json(_: Request) -> Response:
        now = status()
        body = await in_thread(lambda: status_json(now, charts()), "page")
        return Body(body, headers={"cache-control": "no-store"}, media_type="application/json")

    return Route("/", landing), Route("/status.json", as_json)


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
