"""Who shares a render, who waits, who is turned away."""

import asyncio
import threading
from collections.abc import Mapping

import pytest

from exporter.web.renders import Busy, Names, Renders
from tests.web.serving import WATCHDOG_SECONDS, play, until


class Renderer:
    """Renders when `gate` is open; knows how many were in it at once."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.calls: list[tuple[str, str, Names]] = []
        self.inside = 0
        self.most_inside = 0

    def __call__(self, accept: str, encoding: str, names: Names) -> tuple[bytes, Mapping[str, str]]:
        self.calls.append((accept, encoding, names))
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        opened = self.gate.wait(WATCHDOG_SECONDS)
        self.inside -= 1
        if accept == "bad":
            raise ValueError("bad")
        return f"{accept} {encoding} {names} {opened}".encode(), {}


def same(accept: str, encoding: str) -> tuple[str, str]:
    return accept, encoding


def test_the_same_is_rendered_once_and_different_things_one_after_another() -> None:
    async def test() -> None:
        renderer = Renderer()
        renders = Renders(renderer, same)
        wanted: list[tuple[str, str, Names]] = [
            ("text", "gzip", ()),
            ("text", "", ()),
            ("om", "", ()),
        ]
        waiting = [asyncio.create_task(renders.get(*w)) for w in wanted for _ in range(4)]
        await until(lambda: len(renderer.calls) == 1)
        renderer.gate.set()
        bodies = [(await task).body.decode() for task in waiting]
        assert bodies == [f"{a} {e} {n} True" for a, e, n in wanted for _ in range(4)]
        assert sorted(renderer.calls) == sorted(wanted)
        assert renderer.most_inside == 1

    play(test)


def test_clients_that_get_the_same_bytes_share_though_they_ask_differently() -> None:
    async def test() -> None:
        renderer = Renderer()
        renders = Renders(renderer, lambda accept, encoding: "gzip" in encoding)
        asking = [
            asyncio.create_task(renders.get("*/*", encoding, ()))
            for encoding in ("gzip", "gzip, deflate", "br, gzip")
        ]
        await until(lambda: len(renderer.calls) == 1)
        renderer.gate.set()
        assert len({(await task).body for task in asking}) == 1
        assert len(renderer.calls) == 1

    play(test)


def test_an_error_reaches_all_who_wait_and_nobody_after() -> None:
    async def test() -> None:
        renderer = Renderer()
        renders = Renders(renderer, same)
        asking = [asyncio.create_task(renders.get("bad", "", ())) for _ in range(2)]
        await until(lambda: len(renderer.calls) == 1)
        renderer.gate.set()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [str(result) for result in results] == ["bad", "bad"]
        assert (await renders.get("good", "", ())).body == b"good  () True"

    play(test)


def test_one_asker_that_leaves_does_not_take_the_render_from_the_others() -> None:
    async def test() -> None:
        renderer = Renderer()
        renders = Renders(renderer, same)
        leaving, staying = (asyncio.create_task(renders.get("a", "", ())) for _ in range(2))
        await until(lambda: len(renderer.calls) == 1)
        leaving.cancel()
        renderer.gate.set()
        assert (await staying).body == b"a  () True"
        assert leaving.cancelled()

    play(test)


def test_many_different_filters_are_turned_away_but_never_the_whole_page() -> None:
    async def test() -> None:
        renderer = Renderer()
        renders = Renders(renderer, same, queue=2)
        waiting = [asyncio.create_task(renders.get("a", "", (name,))) for name in ("x", "y")]
        await until(lambda: len(renderer.calls) == 1)
        with pytest.raises(Busy, match="2 other renders"):
            await renders.get("a", "", ("z",))
        whole = asyncio.create_task(renders.get("a", "", ()))
        renderer.gate.set()
        assert (await whole).body == b"a  () True"
        await asyncio.gather(*waiting)

    play(test)


def test_a_render_that_hangs_lets_its_askers_go() -> None:
    async def test() -> None:
        renderer = Renderer()
        renders = Renders(renderer, same, patience_seconds=0.01)
        with pytest.raises(Busy, match=r"not done after 0\.01 s"):
            await renders.get("a", "", ())
        renderer.gate.set()

    play(test)
