"""What every role does alike, with the smallest role that there can be."""

import asyncio
import os
import signal
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route

from exporter.errors import ConfigError, KernmeshError, Problem
from exporter.role import Options, Role, Start
from exporter.threads import in_thread
from exporter.web.listen import bind
from tests.web.serving import play

BAD = ConfigError([Problem("a.yaml", 1, "x", "is missing"), Problem("a.yaml", 2, "y", "too large")])


class Smallest(Role[int]):
    """`files` is what reading gives, or raises."""

    def __init__(self, act: Callable[[Start], Coroutine[Any, Any, None]]) -> None:
        super().__init__(Options(lifecycle=True), lifecycle=False)
        self.register([("config", self.reloads)])
        self.files: int | Exception = 1
        self.taken: list[int] = []
        self.closed = 0
        self._act = act

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/own", lambda _: PlainTextResponse("own"))]

    def tasks(self, start: Start) -> Sequence[Coroutine[Any, Any, None]]:
        return [self._act(start)]

    def ready(self) -> str | None:
        return None

    def read(self) -> int:
        if isinstance(self.files, Exception):
            raise self.files
        return self.files

    async def take(self, now: int) -> Mapping[str, object]:
        if now < 0:
            raise ValueError("below zero")
        self.taken.append(now)
        return {}

    def needs_restart(self, now: int) -> Iterable[str]:
        if now > 9:
            yield "size"

    def close(self) -> None:
        self.closed += 1


def serve(act: Callable[[Smallest, Start], Coroutine[Any, Any, None]]) -> Smallest:
    """Runs the role until `act` has ended and SIGTERM, which it then gets, has ended it."""

    async def then_end(start: Start) -> None:
        await act(role, start)
        os.kill(os.getpid(), signal.SIGTERM)

    async def whole() -> None:
        await role.serve(bind(["127.0.0.1:0"]), lambda text: None)

    role = Smallest(then_end)
    play(whole)
    return role


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read(), "utf-8")


def test_it_serves_its_own_routes_beside_metrics_and_closes_when_told_to_end() -> None:
    async def ask(role: Smallest, start: Start) -> None:
        urls = [start.urls[0] + path for path in ("/own", "/-/ready", "/metrics")]
        pages = await in_thread(lambda: [fetch(url) for url in urls], "ask")
        assert pages[:2] == ["own", "kernmesh is ready.\n"]
        assert "kernmesh_config_last_reload_successful 1" in pages[2]
        assert not role.closed

    assert serve(ask).closed == 1


def test_a_sighup_reloads() -> None:
    async def hang_up(role: Smallest, start: Start) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        while not role.taken:
            await asyncio.sleep(0)

    assert serve(hang_up).taken == [1]


@pytest.mark.parametrize(
    ("files", "raised", "said"),
    [
        (BAD, ConfigError, "a.yaml:1: x: is missing"),
        (KernmeshError("a.yaml: no such file"), KernmeshError, "a.yaml: no such file"),
        (-1, KernmeshError, "ValueError: below zero"),
    ],
)
def test_a_reload_that_goes_wrong_is_said_until_one_goes_well(
    files: int | Exception, raised: type[Exception], said: str
) -> None:
    async def reload(role: Smallest, start: Start) -> None:
        role.files = files
        with pytest.raises(raised):
            await role.reload()
        assert role.taken == []
        [problem] = role.problems()
        assert problem.endswith(f"changed nothing: {said}")
        role.files = 2
        await role.reload()
        assert role.taken == [2]
        assert list(role.problems()) == []

    serve(reload)


def test_what_takes_a_restart_is_said() -> None:
    async def reload(role: Smallest, start: Start) -> None:
        role.files = 10
        await role.reload()
        note = "size has changed, which takes effect when kernmesh is restarted"
        assert list(role.problems()) == [note]

    serve(reload)
