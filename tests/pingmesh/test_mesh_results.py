"""Agents' text and Prometheus' answers become reports; who restarts or is silent is not well."""

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest

from exporter.config import Duration, HttpUrl
from exporter.testing import FakeClock
from pingmesh.controller_config import MeshConfig
from pingmesh.mesh import Report, Tally
from pingmesh.mesh_prometheus import Prometheus
from pingmesh.mesh_pull import Pulled
from pingmesh.mesh_results import FAIL, LOST, PROBES, RTT, STAMP, Asked
from pingmesh.mesh_scrapes import Snapshot, report, snapshot
from pingmesh.topology import RackId

HERE, THERE = RackId("z", "r0"), RackId("z", "r1")
ASKED = Asked({"a": "127.0.0.1"}, {("z", "r0"): HERE, ("z", "r1"): THERE}, "icmp")
INF = float("inf")


def text(
    sent: int, lost: int = 0, stamp: float = 1.0, failing: tuple[str, ...] = (), probe: str = "icmp"
) -> str:
    there = f'probe="{probe}",source_rack="r0",source_zone="z",target_rack="r1",target_zone="z"'
    lines = [
        f"# TYPE {PROBES} counter",
        f"{PROBES}{{{there}}} {sent}",
        f'{LOST}{{{there},reason="timeout"}} {lost}',
        f'{RTT}{{le="0.001",{there}}} {sent - lost}',
        f'{RTT}{{le="+Inf",{there}}} {sent - lost}',
        f'{STAMP}{{lane="packets"}} {stamp}',
        *(f'{FAIL}{{target="{target}",tor="z/r1"}} 1' for target in failing),
    ]
    return "\n".join(lines) + "\n"


def taken(*texts: str) -> list[Snapshot]:
    return [snapshot(each, float(at), ASKED) for at, each in enumerate(texts)]


def test_two_scrapes_make_a_report_of_what_came_between() -> None:
    found = report("a", taken(text(100, 1), text(160, 3, 2.0, ("10.0.0.1",))))
    between = {THERE: Tally(60, 2, ((0.001, 58.0),))}
    assert found == Report("a", between, 1, {"10.0.0.1": 1}, between)


def test_how_it_is_now_is_told_from_how_it_was() -> None:
    scrapes = taken(text(0), text(10, 5), text(20, 5), text(30, 5))
    found = report("a", scrapes, recent=2.0)
    assert found is not None
    assert found.racks[THERE][:2] == (30, 5)
    assert found.recent[THERE][:2] == (20, 0)


def test_one_scrape_says_nothing_yet() -> None:
    assert report("a", taken(text(100, 1))) is None


def test_a_restart_begins_anew() -> None:
    assert report("a", taken(text(100, 9), text(10, 0))) is None
    found = report("a", taken(text(100, 9), text(10, 0), text(20, 1)))
    assert found is not None
    assert found.racks[THERE][:2] == (10, 1)


def test_a_round_seen_twice_counts_once() -> None:
    failing = ("10.0.0.1",)
    found = report(
        "a",
        taken(
            text(10, 0, 1.0),
            text(20, 1, 2.0, failing),
            text(20, 1, 2.0, failing),
            text(30, 1, 3.0),
        ),
    )
    assert found is not None
    assert (found.rounds, found.failing) == (2, {"10.0.0.1": 1})


def test_an_agent_that_stopped_probing_has_no_rack_to_speak_of() -> None:
    found = report("a", taken(text(10), text(10)))
    assert found is not None
    assert found.racks == {}


@pytest.mark.parametrize(
    "noise",
    [
        "",
        "garbage",
        f"{PROBES} 5",
        f'{PROBES}{{target_zone="z",target_rack="nowhere",probe="icmp"}} 5',
        f'{PROBES}{{target_zone="z",target_rack="r1",probe="http"}} 5',
        f'{PROBES}{{target_zone="z",target_rack="r1",probe="icmp"}} NaN',
        f'{PROBES}{{target_zone="z",target_rack="r1",probe="icmp"}} +Inf',
        f'{PROBES}{{target_zone="z",target_rack="r1",probe="icmp"}} 1e300',
        f'{PROBES}{{target_zone="z",target_rack="r1",probe="icmp"}} -5',
        f'{PROBES}{{target_zone="z",target_rack="r1",probe="icmp"}} five',
        f'{RTT}{{target_zone="z",target_rack="r1",le="x",probe="icmp"}} 5',
        "\0{} 1",
    ],
)
def test_lines_that_are_none_of_ours_are_passed_over(noise: str) -> None:
    assert snapshot(text(5) + noise + "\n", 0.0, ASKED) == snapshot(text(5), 0.0, ASKED)


def test_names_with_quotes_and_backslashes_are_read_as_they_are() -> None:
    odd = Asked({}, {('z"\\', "r\n"): HERE}, "icmp")
    line = f'{PROBES}{{probe="icmp",target_zone="z\\"\\\\",target_rack="r\\n"}} 5\n'
    assert snapshot(line, 0.0, odd).sent == {HERE: 5}


class Server:
    """Answers on loopback what `answer(path, body)` says: status, body."""

    def __init__(self, answer: Callable[[str, bytes], tuple[int, bytes]]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("content-length", 0))
                status, body = answer(self.path, self.rfile.read(length))
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:1/")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 # the base class's names

            def log_message(self, *_: Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self.http.server_address[1]


@contextmanager
def server(answer: Callable[[str, bytes], tuple[int, bytes]]) -> Iterator[Server]:
    made = Server(answer)
    thread = threading.Thread(target=made.http.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.http.shutdown()
        made.http.server_close()


def test_agents_are_pulled_and_compared_with_the_last_time() -> None:
    texts = [text(10), text(70, 2)]
    clock = FakeClock()

    async def twice(config: MeshConfig) -> list[Any]:
        source = Pulled(config, clock)
        first = await source.read(ASKED)
        clock.advance(30)
        second = await source.read(ASKED)
        assert source.problem is None
        await source.close()
        return [first, second]

    with server(lambda path, _: (200, texts.pop(0).encode())) as made:
        first, second = asyncio.run(twice(MeshConfig(agent_port=made.port)))
    assert first == {}
    assert second["a"].racks[THERE][:2] == (60, 2)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"", "HTTP 500"),
        (302, b"", "HTTP 302"),
        (200, b"x" * (9 << 20), "longer than 8 MiB"),
    ],
)
def test_who_answers_badly_is_silent_and_if_all_do_that_is_said(
    status: int, body: bytes, reason: str
) -> None:
    async def once(config: MeshConfig) -> str | None:
        source = Pulled(config, FakeClock())
        assert await source.read(ASKED) == {}
        await source.close()
        return source.problem

    with server(lambda path, _: (status, body)) as made:
        problem = asyncio.run(once(MeshConfig(agent_port=made.port)))
    assert problem == f"no agent answers on port {made.port}: {reason}"


def test_an_agent_that_is_no_longer_heard_is_no_longer_reported() -> None:
    answers = [(200, text(10)), (200, text(20)), (500, "")]
    clock = FakeClock()
    config = MeshConfig(every=Duration("10s"), window=Duration("1m"))

    async def thrice(port: int) -> list[Any]:
        import msgspec

        source = Pulled(msgspec.structs.replace(config, agent_port=port), clock)
        found = []
        for _ in range(3):
            found.append(await source.read(ASKED))
            clock.advance(25)
        await source.close()
        return found

    def answer(path: str, _: bytes) -> tuple[int, bytes]:
        status, body = answers.pop(0)
        return status, body.encode()

    with server(answer) as made:
        found = asyncio.run(thrice(made.port))
    assert [list(each) for each in found] == [[], ["a"], []]


def vector(*rows: tuple[dict[str, str], str]) -> bytes:
    result = [{"metric": labels, "value": [1.0, value]} for labels, value in rows]
    return json.dumps(
        {"status": "success", "data": {"resultType": "vector", "result": result}}
    ).encode()


def test_more_agents_than_may_be_pulled_are_left_to_prometheus() -> None:
    source = Pulled(MeshConfig(pull_at_most=2), FakeClock())
    many = Asked(dict.fromkeys("abc", "127.0.0.1"), {}, "icmp")
    assert asyncio.run(source.read(many)) == {}
    assert source.problem is not None
    assert source.problem.startswith("3 agents are more than mesh.pull_at_most (2): set")


def test_buckets_keep_where_they_begin() -> None:
    line = f'{RTT}{{le="%s",probe="icmp",target_rack="r1",target_zone="z"}} %d\n'
    bounds = ("0.001", "0.002", "0.004", "0.008", "+Inf")
    before = "".join(line % (bound, 0) for bound in bounds)
    after = "".join(line % pair for pair in zip(bounds, (0, 0, 9, 9, 10), strict=True))
    found = report("a", taken(text(0) + before, text(10, 10) + after))
    assert found is not None
    assert found.racks[THERE].slow == ((0.002, 0.0), (0.004, 9.0), (0.008, 0.0), (INF, 1.0))


@pytest.mark.parametrize("instance", ["127.0.0.1:9435", "a", "a:9435", "127.0.0.1"])
def test_prometheus_is_asked_for_increases_by_agent_and_rack(instance: str) -> None:
    where = {"instance": instance, "target_zone": "z", "target_rack": "r1"}

    def answer(path: str, body: bytes) -> tuple[int, bytes]:
        [query] = parse_qs(body.decode())["query"]
        if RTT in query:
            bounds = (("0.001", "50"), ("+Inf", "58"), ("much", "60"))
            return 200, vector(*((where | {"le": bound}, count) for bound, count in bounds))
        if FAIL in query:
            return 200, vector(({"instance": instance, "target": "10.0.0.1", "tor": "t"}, "2"))
        if STAMP in query:
            return 200, vector(({"instance": instance}, "20"))
        if LOST in query:
            return 200, vector((where, "2"))
        if "[120s]" in query:
            return 200, vector((where, "12"))
        assert query == (
            "sum by(instance,target_zone,target_rack)"
            '(increase(pingmesh_probes_total{probe="icmp"}[600s]))'
        )
        rows = [(where, each) for each in ("60", "NaN", "+Inf", "-1")]
        return 200, vector(*rows, (where | {"instance": "stranger"}, "9"))

    async def once(url: str) -> Any:
        source = Prometheus(url, MeshConfig(prometheus=HttpUrl(url)))
        found = await source.read(ASKED)
        assert source.problem is None
        await source.close()
        return found

    with server(answer) as made:
        found = asyncio.run(once(f"http://127.0.0.1:{made.port}"))
    buckets = ((0.001, 50), (INF, 8))
    whole, recent = {THERE: Tally(60, 2, buckets)}, {THERE: Tally(12, 2, buckets)}
    assert found == {"a": Report("a", whole, 20, {"10.0.0.1": 2}, recent)}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, b"", "HTTP 503"),
        (200, b"<html>", "no answer of Prometheus"),
        (200, b'{"status":"success","data":{"result":[{"metric":{}}]}}', "no answer of Prometheus"),
        (
            200,
            b'{"status":"success","data":{"result":[{"metric":{},"value":[1,"much"]}]}}',
            "no answer of Prometheus",
        ),
        (200, b'{"a":' + b"[" * 5000, "no answer of Prometheus"),
        (200, b'{"data":{"result":[{"metric":{"a":"\xff"}}]}}', "no answer of Prometheus"),
        (302, b"", "HTTP 302"),
    ],
)
def test_a_prometheus_that_answers_badly_gives_nothing_and_says_why(
    status: int, body: bytes, reason: str
) -> None:
    async def once(url: str) -> str | None:
        source = Prometheus(url, MeshConfig())
        assert await source.read(ASKED) == {}
        await source.close()
        return source.problem

    with server(lambda path, _: (status, body)) as made:
        problem = asyncio.run(once(f"http://127.0.0.1:{made.port}"))
    assert problem is not None
    assert reason in problem
