"""Agents that answer, and those that do not as they should."""

import msgspec
import pytest

from exporter.config import Duration
from exporter.interference.answer import Asked, answer
from exporter.interference.board import Board
from exporter.labeller.agent_source import PATIENCE, SELDOM, STUCK, AgentSource, Place, Request
from exporter.labeller.config import Agents
from exporter.pressure.deciding import SCHEDULE
from tests.labeller.answering import answering, as_json, http, run

GAUGES = {"cpu": "cpu_usage_active"}
GOOD = as_json({"cpu_usage_active": 42.5, "mem_usage_active": 7})
HUGE = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n" + b"1" * (3 << 20)


def source(**options: object) -> AgentSource:
    return AgentSource(Agents(timeout=Duration("300ms"), **options), GAUGES)  # type: ignore[arg-type]


def places(port: int, count: int = 2) -> dict[str, Place]:
    return {f"node-{i}": Place(f"127.0.0.{i + 1}", port) for i in range(count)}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (http(b"\x00\xff{"), "/statistics: no object of numbers"),
        (http(b"[1, 2]"), "/statistics: no object of numbers"),
        (http(b'{"cpu_usage_active": "9"}'), "/statistics: no object of numbers"),
        (http(b"[" * 100_000), "/statistics: no object of numbers"),
        (as_json({"cpu_usage_active": 1e300}), "/statistics: no percentages"),
        (as_json({"cpu_usage_active": -1}), "/statistics: no percentages"),
        (http(b"", 302, "location: http://127.0.0.1:1/\r\n"), "/statistics: HTTP 302"),
        (http(b"{}", 500), "/statistics: HTTP 500"),
        (http(b"x" * 9, 200, "content-encoding: gzip\r\n"), "packed"),
        (HUGE, "longer than"),
        (b"SSH-2.0-OpenSSH\r\n", "no HTTP"),
        (None, "no answer in 0.3 s"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{", "closed"),
    ],
)
def test_an_agent_that_answers_badly_is_one_unknown_node(bad: bytes | None, why: str) -> None:
    async def test() -> None:
        agents = source(interference=False)
        async with answering(lambda at, path: bad if at == "127.0.0.1" else GOOD) as port:
            assert await agents.read(places(port)) == {"node-1": {"cpu": 42.5}}
        assert agents.failing == 1
        assert [why in reason for reason in agents.reasons] == [True]

    run(test)


def test_a_detection_that_hangs_is_unknown_and_nobody_is_evicted_by_its_word() -> None:
    async def test() -> None:
        agents, time = source(), 1.0
        pod = {"namespace": "batch", "pod": "train", "uid": "u"}

        def reply(at: str, path: str) -> bytes:
            if path == "/statistics":
                return GOOD
            return as_json({"enabled": True, "time": time, "schedule": True, "evictions": [pod]})

        async with answering(reply) as port:
            found = [(await agents.read(places(port, 1)))["node-0"] for _ in range(STUCK)]
            assert [each[SCHEDULE] for each in found] == [1.0] * STUCK
            assert agents.evictions["node-0"]
            assert (await agents.read(places(port, 1)))["node-0"] == {"cpu": 42.5, SCHEDULE: None}
            assert not agents.evictions
            time = 2.0
            assert (await agents.read(places(port, 1)))["node-0"][SCHEDULE] == 1.0
            assert agents.evictions

    run(test)


def test_an_empty_answer_is_an_agent_that_has_no_sample_yet() -> None:
    async def test() -> None:
        agents = source(interference=False)
        async with answering(lambda at, path: http(b"{}")) as port:
            assert await agents.read(places(port, 1)) == {"node-0": {"cpu": None}}
        assert agents.failing == 0

    run(test)


@pytest.mark.parametrize(
    ("page", "schedule"),
    [
        (as_json({"schedule": True, "findings": [{"more": 1}]}), 1.0),
        (as_json({"schedule": False}), 0.0),
        (as_json({}), 0.0),
        (http(b"not found", 404), 0.0),
        (http(b"garbage"), None),
        (http(b'{"evictions": [{"pod": "\xff"}]}'), None),
        (http(b'{"findings": ' + b"[" * 5000), None),
        (http(b"{}", 503), None),
    ],
)
def test_what_interference_asks_for_is_read_or_unknown(page: bytes, schedule: float | None) -> None:
    async def test() -> None:
        agents = source()
        async with answering(lambda at, path: GOOD if path == "/statistics" else page) as port:
            values = await agents.read(places(port, 1))
        assert values["node-0"].get("schedule") == schedule
        assert values["node-0"]["cpu"] == 42.5

    run(test)


@pytest.mark.parametrize(("enabled", "schedule"), [(True, None), (False, 0.0)])
def test_an_agent_s_own_page_is_read(enabled: bool, schedule: float | None) -> None:
    asked = Asked({}, [("run", "batch", "p", "u", 5, "cpu", 1.0)])
    page = http(msgspec.json.encode(answer(Board() if enabled else None, "node-0", False, asked)))

    async def test() -> None:
        agents = source()
        async with answering(lambda at, path: GOOD if path == "/statistics" else page) as port:
            values = await agents.read(places(port, 1))
        assert values["node-0"]["schedule"] == schedule
        assert agents.evictions == {"node-0": (Request("batch", "p", "u", 5, "cpu", "run"),)}

    run(test)


def test_requests_for_evictions_are_read_as_they_are() -> None:
    asked = {"namespace": "batch", "pod": "p", "uid": "u", "grace_seconds": 5, "wall": 1.0}

    async def test() -> None:
        agents = source()
        page = as_json({"schedule": False, "evictions": [asked]})
        async with answering(lambda at, path: GOOD if path == "/statistics" else page) as port:
            await agents.read(places(port, 1))
        assert agents.evictions == {"node-0": (Request("batch", "p", "u", 5),)}

    run(test)


def test_an_agent_that_keeps_failing_is_asked_seldom_and_heard_when_it_is_back() -> None:
    asked: list[str] = []
    dead = True

    def answer(at: str, path: str) -> bytes:
        asked.append(at)
        return http(b"", 500) if dead and at == "127.0.0.1" else GOOD

    async def test() -> None:
        nonlocal dead
        agents = source(interference=False)
        async with answering(answer) as port:
            for _ in range(PATIENCE + SELDOM):
                await agents.read(places(port))
            assert asked.count("127.0.0.1") == PATIENCE + 1
            assert asked.count("127.0.0.2") == PATIENCE + SELDOM
            dead = False
            found = [await agents.read(places(port)) for _ in range(SELDOM)]
        assert "node-0" in found[-1] or any("node-0" in each for each in found)
        assert agents.failing == 0

    run(test)


def test_no_more_are_asked_at_a_time_than_may_be_and_the_round_ends_with_all() -> None:
    open_now, most = 0, 0

    def answer(at: str, path: str) -> bytes:
        nonlocal open_now, most
        open_now += path == "/statistics"
        most = max(most, open_now)
        open_now -= path == "/interference"
        return GOOD if path == "/statistics" else as_json({})

    async def test() -> None:
        agents = source(concurrency=3)
        async with answering(answer) as port:
            values = await agents.read(places(port, 40))
        assert len(values) == 40
        assert most <= 3

    run(test)
