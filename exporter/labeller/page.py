"""The labeller's page, and what dynamicScheduler serves: /status and /nodes.

Takes plain values; knows no API.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from exporter.pages.template import render
from exporter.threads import in_thread
from exporter.web.app import page

TEMPLATE = Path(__file__).with_name("labeller.html.j2")
SHOWN = 200
NODES_TYPE = "Label type=presure Nodes"


class Row(NamedTuple):
    """A resource, and how many nodes are what."""

    resource: str
    calm: int
    pressed: int
    unknown: int


class View(NamedTuple):
    """One moment. `role` is in words; `round_age` None before the first round."""

    version: str
    role: str
    dry_run: bool
    not_ready: str | None
    nodes: int
    pending: int
    round_age: float | None
    rows: Sequence[Row]
    marked: Sequence[str]
    problems: Sequence[str]


def nodes_json(marked: Sequence[str]) -> bytes:
    """As dynamicScheduler writes it."""
    said = {"type": NODES_TYPE, "num": len(marked), "node_names": list(marked)}
    return msgspec.json.encode(said)


def routes(view: Callable[[], View], marked: Callable[[], Sequence[str]]) -> list[BaseRoute]:
    async def landing(_: Request) -> Response:
        now = view()
        shown = now._replace(marked=now.marked[:SHOWN])
        more = len(now.marked) - len(shown.marked)
        text = await in_thread(lambda: render(TEMPLATE, view=shown, more=more), "page")
        return page(text)

    async def status(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def nodes(_: Request) -> Response:
        return Response(nodes_json(marked()), media_type="application/json")

    return [Route("/", landing), Route("/status", status), Route("/nodes", nodes)]
