"""A collection that is kept up to date over whatever happens to the connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from exporter.clock import Clock, SystemClock
from exporter.kube.access import Access
from exporter.kube.api import NODES, PODS, Object
from exporter.kube.backoff import Backoff
from exporter.kube.cache import Change
from exporter.kube.client import KubeClient
from exporter.kube.informer import Informer
from exporter.testing import FakeClock
from tests.cluster.apiserver import ApiServer
from tests.cluster.faults import Fault
from tests.kube.asking import WATCHDOG_SECONDS, node
from tests.web.serving import until


def level(found: Object) -> str:
    value: str = found["metadata"]["labels"]["level"]
    return value


class Watching:
    """An informer of nodes' label `level`, with what it told and how long it paused."""

    def __init__(self, client: KubeClient, clock: Clock, **options: Any) -> None:
        self.told: list[Change[str]] = []
        self.pauses: list[float] = []
        self.synced = 0
        self.informer: Informer[str] = Informer(
            client,
            NODES,
            clock,
            level,
            on_change=self.told.append,
            on_synced=self._synced,
            pause=self._pause,
            backoff=Backoff(dice=lambda: 1.0),
            **options,
        )

    def _synced(self) -> None:
        self.synced += 1

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0.01)

    def words(self) -> list[str]:
        """What was told since the last time: +a=x, a=x→y, -a."""
        words = []
        for each in self.told:
            name = each.key[1]
            sign = {"added": f"+{name}={each.new}", "deleted": f"-{name}={each.old}"}
            words.append(sign.get(each.kind, f"{name}={each.old}→{each.new}"))
        self.told.clear()
        return words


Test = Callable[[Watching, FakeClock], Awaitable[None]]


def play(server: ApiServer, test: Test, **options: Any) -> None:
    async def watched() -> None:
        clock = FakeClock()
        client = KubeClient(Access("test", server.url, token="test"), SystemClock(), role="tests")
        watching = Watching(client, clock, **options)
        task = asyncio.create_task(watching.informer.run())
        try:
            async with asyncio.timeout(WATCHDOG_SECONDS):
                await watching.informer.until_synced()
                await until(lambda: server.open_watches == 1 and not watching.informer.problem)
                await test(watching, clock)
        finally:
            task.cancel()
            await client.close()

    asyncio.run(watched())


def test_what_there_is_and_what_changes_is_told_once(server: ApiServer) -> None:
    server.put("nodes", node("a", level="1"))

    async def test(watching: Watching, clock: FakeClock) -> None:
        assert watching.words() == ["+a=1"]
        server.put("nodes", node("b", level="1"))
        server.put("nodes", node("a", level="2"))
        server.put("nodes", node("a", level="2", other="3"))  # not in what is kept: no change
        server.delete("nodes", "b")
        await until(lambda: len(watching.told) == 3)
        assert watching.words() == ["+b=1", "a=1→2", "-b=1"]
        assert list(watching.informer.known.values()) == ["2"]
        assert (watching.informer.lists, watching.synced) == (1, 1)

    play(server, test)


def test_a_watch_that_is_cut_goes_on_where_it_was(server: ApiServer) -> None:
    async def test(watching: Watching, clock: FakeClock) -> None:
        informer = watching.informer
        refused = server.fail(Fault("status", 503, verbs=frozenset({"watch"})))
        clock.advance(50)
        server.put("nodes", node("a", level="1"))
        await until(lambda: len(watching.told) == 1)
        heard = clock.monotonic()
        clock.advance(7)
        server.cut_watches()
        await until(lambda: refused.met >= 3)
        assert informer.stale_since == heard
        assert "HTTP 503" in informer.problem
        server.put("nodes", node("b", level="1"))
        assert list(informer.known.values()) == ["1"]
        server.well()
        await until(lambda: len(watching.told) == 2)
        assert watching.words() == ["+a=1", "+b=1"]
        assert not informer.problem
        assert informer.lists == 1
        await until(lambda: informer.stale_since is None)

    play(server, test)


def test_waits_grow_while_it_fails_and_are_what_the_api_asks(server: ApiServer) -> None:
    async def test(watching: Watching, clock: FakeClock) -> None:
        refused = server.fail(Fault("status", 503, verbs=frozenset({"watch"})))
        server.put("nodes", node("a", level="1"))  # so that the watch that ends was a good one
        await until(lambda: len(watching.told) == 1)
        server.cut_watches()
        await until(lambda: refused.met >= 6)
        assert watching.pauses[:6] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
        count = len(watching.pauses)
        server.fail(Fault("status", 429, retry_after=90, verbs=frozenset({"watch"}), times=1))
        await until(lambda: len(watching.pauses) > count + 2)
        assert round(max(watching.pauses)) == 99  # a little more, not all in the same second

    play(server, test)


def test_what_was_missed_while_history_was_lost_is_told_after_a_new_list(
    server: ApiServer,
) -> None:
    for name in "abc":
        server.put("nodes", node(name, level="1"))

    async def test(watching: Watching, clock: FakeClock) -> None:
        assert watching.words() == ["+a=1", "+b=1", "+c=1"]
        held = server.fail(Fault("status", 503, verbs=frozenset({"watch"})))
        server.cut_watches()
        await until(lambda: held.met >= 1)
        server.delete("nodes", "a")
        server.delete("nodes", "b")
        server.put("nodes", node("b", level="1"))  # another one of that name
        server.put("nodes", node("c", level="2"))
        server.put("nodes", node("d", level="1"))
        server.compact()
        server.well()
        await until(lambda: watching.informer.lists == 2)
        assert watching.words() == ["-b=1", "+b=1", "c=1→2", "+d=1", "-a=1"]
        await until(lambda: watching.informer.stale_since is None)
        assert watching.synced == 2
        server.put("nodes", node("a", level="9"))
        await until(lambda: watching.words() == ["+a=9"])

    play(server, test)


def test_bookmarks_save_a_new_list_when_nothing_of_ours_changed(server: ApiServer) -> None:
    async def test(watching: Watching, clock: FakeClock) -> None:
        informer = watching.informer
        before = informer.known.version
        for number in range(3):
            server.put("pods", {"metadata": {"name": str(number)}}, "default")
        server.bookmark()
        await until(lambda: informer.known.version != before)
        server.compact()  # what is older than this is gone, and a bookmark says so
        server.bookmark()
        version = str(int(informer.known.version) + 1)
        await until(lambda: informer.known.version == version)
        server.cut_watches()
        await until(lambda: informer.watches == 2)
        server.put("nodes", node("a", level="1"))
        await until(lambda: watching.words() == ["+a=1"])
        assert informer.lists == 1

    play(server, test)


def test_a_watch_that_always_ends_at_once_is_not_begun_without_pause(server: ApiServer) -> None:
    async def test(watching: Watching, clock: FakeClock) -> None:
        server.fail(Fault("garbage", body=b"", verbs=frozenset({"watch"})))
        server.end_watches()
        await until(lambda: len(watching.pauses) >= 3)
        assert watching.pauses[:3] == [1.0, 2.0, 4.0]
        assert "ended at once" in watching.informer.problem

    play(server, test)


def test_pages_that_expire_meanwhile_are_followed_by_a_list_in_one(server: ApiServer) -> None:
    for number in range(600):
        server.put("nodes", node(f"n{number:03}", level="1"))

    async def test(watching: Watching, clock: FakeClock) -> None:
        refused = server.fail(Fault("status", 503, verbs=frozenset({"watch"})))
        server.cut_watches()
        await until(lambda: refused.met >= 1)
        server.compact()
        server.expire_next_token()
        server.well()
        await until(lambda: watching.informer.lists == 2)
        lists = [path for _, path, _ in server.requests if "watch=" not in path]
        assert ["limit=250" in path for path in lists] == [True] * 5 + [False]
        assert len(watching.informer.known) == 600

    play(server, test)


def test_an_object_that_cannot_be_read_costs_only_itself(server: ApiServer) -> None:
    server.put("nodes", node("a"))  # without the label
    server.put("nodes", node("b", level="1"))

    async def test(watching: Watching, clock: FakeClock) -> None:
        known = watching.informer.known
        assert list(known.values()) == ["1"]
        assert (known.unreadable, known.problem) == (1, "a: KeyError: 'labels'")
        server.put("nodes", node("b"))
        await until(lambda: watching.words()[-1:] == ["-b=1"])

    play(server, test)


def test_a_hearer_that_fails_does_not_end_the_watching(server: ApiServer) -> None:
    async def watched() -> None:
        client = KubeClient(Access("test", server.url), SystemClock())
        heard: list[str] = []

        def hear(change: Change[str]) -> None:
            heard.append(change.key[1])
            raise RuntimeError("mine")

        informer: Informer[str] = Informer(client, NODES, SystemClock(), level, on_change=hear)
        task = asyncio.create_task(informer.run())
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await until(lambda: server.open_watches == 1)
            for name in "ab":
                server.put("nodes", node(name, level="1"))
            await until(lambda: heard == ["a", "b"])
        assert len(informer.known) == 2
        task.cancel()
        await client.close()

    asyncio.run(watched())


def test_while_there_was_no_list_yet_it_is_stale_since_it_began(server: ApiServer) -> None:
    async def watched() -> None:
        server.tokens = set()
        client = KubeClient(Access("test", server.url, token="expired"), SystemClock())
        clock = FakeClock()
        watching = Watching(client, clock)
        began = clock.monotonic()
        task = asyncio.create_task(watching.informer.run())
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await until(lambda: len(watching.pauses) > 1)
            clock.advance(100)
            assert watching.informer.stale_since == began
            assert not watching.informer.synced
            assert "HTTP 401 Unauthorized" in watching.informer.problem
            server.tokens = None
            await watching.informer.until_synced()
        task.cancel()
        await client.close()

    asyncio.run(watched())


def test_a_selected_part_is_asked_for_from_the_server_s_memory(server: ApiServer) -> None:
    async def watched() -> None:
        client = KubeClient(Access("test", server.url), SystemClock())
        informer: Informer[str] = Informer(
            client,
            PODS,
            SystemClock(),
            lambda found: found["metadata"]["uid"],
            fields="spec.nodeName=here",
            cached=True,
        )
        task = asyncio.create_task(informer.run())
        spec = {"nodeName": "here"}
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await until(lambda: server.open_watches == 1)
            server.put("pods", {"metadata": {"name": "a"}, "spec": spec}, "x")
            server.put("pods", {"metadata": {"name": "b"}, "spec": {}}, "x")
            server.put("pods", {"metadata": {"name": "c"}, "spec": spec}, "x")
            await until(lambda: len(informer.known) == 2)
        (_, listed, _), (_, watched_path, _) = server.requests
        assert "fieldSelector=spec.nodeName%3Dhere" in listed
        assert "resourceVersion=0" in listed
        assert "allowWatchBookmarks=true" in watched_path
        task.cancel()
        await client.close()

    asyncio.run(watched())
