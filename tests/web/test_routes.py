"""What a client gets from each route, over a real socket."""

import json
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporter.errors import KernmeshError
from exporter.web.limits import Limits
from tests.web.serving import STATUS, Answer, play, serving, until


def ask(path: str, method: str = "GET", **options: Any) -> Answer:
    answers: list[Answer] = []

    async def test() -> None:
        async with serving(**options) as agent:
            answers.append(await agent.ask(path, method))

    play(test)
    return answers[0]


TEXT = "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "status", "content_type", "body"),
    [
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", b"x 1\n"),
        ("/statistics", 200, "application/json", b'{"cpu_usage_active":6.80}'),
        ("/-/healthy", 200, TEXT, b"kernmesh is healthy.\n"),
        ("/-/ready", 200, TEXT, b"kernmesh is ready.\n"),
        ("/metrics/", 404, TEXT, b"Not Found"),
        ("/nothing-here", 404, TEXT, b"Not Found"),
    ],
)
def test_each_route_says_what_it_is(path: str, status: int, content_type: str, body: bytes) -> None:
    answer = ask(path)
    assert (answer.status, answer.headers["content-type"], answer.body) == (
        status,
        content_type,
        body,
    )
    assert answer.headers["content-length"] == str(len(body))
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/debug/pprof/", "/debug/pprof/profile", "/debug/vars"])
def test_there_is_no_profiler_to_be_reached(path: str) -> None:
    assert ask(path).status == 404


def asked_over(window: str | None) -> str:
    if window == "soon":
        raise ValueError("no window, want 5m, 1h, 1d or such")
    return f'{{"over":"{window}"}}'


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/statistics", 200, b'{"over":"None"}'),
        ("/statistics?window=15m", 200, b'{"over":"15m"}'),
        ("/statistics?window=soon", 400, b"window: no window, want 5m, 1h, 1d or such\n"),
    ],
)
def test_statistics_over_a_window_that_is_asked_for(path: str, status: int, body: bytes) -> None:
    answer = ask(path, statistics=asked_over)
    assert (answer.status, answer.body) == (status, body)


def test_the_landing_page_is_html_that_may_load_nothing() -> None:
    answer = ask("/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b"kernmesh on node-a" in answer.body


@pytest.mark.parametrize("path", ["/", "/metrics", "/statistics", "/-/healthy", "/-/ready"])
def test_head_has_the_length_of_get_and_no_body(path: str) -> None:
    async def test() -> None:
        async with serving() as agent:
            client = await agent.connect()
            head, get = await client.ask(path, "HEAD"), await client.ask(path)
            assert head.headers["content-length"] == get.headers["content-length"]
            assert (head.status, len(get.body)) == (200, int(head.headers["content-length"]))

    play(test)


def test_not_ready_is_503_with_the_reason() -> None:
    answer = ask("/-/ready", ready=lambda: "programs are loading")
    assert (answer.status, answer.body) == (503, b"not ready: programs are loading\n")


def test_what_the_client_accepts_and_the_names_it_wants_reach_the_renderer() -> None:
    async def test() -> None:
        async with serving() as agent:
            client = await agent.connect()
            client.send(
                b"GET /metrics?name[]=b&name%5B%5D=a&name[]=b&other=c HTTP/1.1\r\n"
                b"accept: text/plain\r\naccept: */*;q=0.1\r\naccept-encoding: gzip\r\n\r\n"
            )
            await client.answer()
            assert agent.renders == [("text/plain, */*;q=0.1", "gzip", ("a", "b"))]

    play(test)


def test_a_render_that_fails_is_500_and_the_next_one_is_tried() -> None:
    outcomes = iter([ValueError("secret"), None])

    def render(*_: object) -> tuple[bytes, dict[str, str]]:
        if (error := next(outcomes)) is not None:
            raise error
        return b"", {}

    async def test() -> None:
        async with serving(render=render) as agent:
            client = await agent.connect()
            failed, good = await client.ask("/metrics"), await client.ask("/metrics")
            assert (failed.status, failed.body) == (500, b"render failed: ValueError\n")
            assert good.status == 200

    play(test)


class TestReload:
    def test_without_the_flag_it_says_which_flag(self) -> None:
        answer = ask("/-/reload", "POST")
        assert answer.status == 403
        assert answer.body.count(b"\n") == 1
        assert b"--web.enable-lifecycle" in answer.body

    @pytest.mark.parametrize("method", ["PUT", "POST"])
    def test_it_reloads(self, method: str) -> None:
        calls: list[str] = []

        async def reload() -> None:
            calls.append("reload")

        answer = ask("/-/reload", method, reload=reload)
        assert (answer.status, answer.body, calls) == (200, b"reloaded\n", ["reload"])

    def test_a_bad_file_is_500_with_its_problem(self) -> None:
        async def reload() -> None:
            raise KernmeshError("agent.yaml:3: ebpf.prefx: unknown key (did you mean prefix?)")

        answer = ask("/-/reload", "POST", reload=reload)
        assert answer.status == 500
        assert answer.body == (
            b"not reloaded, nothing changed: "
            b"agent.yaml:3: ebpf.prefx: unknown key (did you mean prefix?)\n"
        )

    def test_get_is_refused_for_a_browser_must_not_reload_by_a_link(self) -> None:
        answer = ask("/-/reload")
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == {"PUT", "POST"}


def test_readers_beyond_their_limit_get_503_while_scrapes_and_health_pass() -> None:
    async def slow(_: Request) -> Response:
        await until(lambda: released)
        return PlainTextResponse("done\n")

    released = False

    async def test() -> None:
        nonlocal released
        async with serving(routes=[Route("/slow", slow)], others=1) as agent:
            first = await agent.connect()
            first.send(b"GET /slow HTTP/1.1\r\n\r\n")
            await until(lambda: agent.being_answered == 1)
            turned_away = await agent.ask("/statistics")
            assert (turned_away.status, turned_away.headers["retry-after"]) == (503, "1")
            assert (await agent.ask("/metrics")).status == 200
            assert (await agent.ask("/-/healthy")).status == 200
            released = True
            assert (await first.answer()).status == 200
            assert (await agent.ask("/statistics")).status == 200

    play(test)


def test_parallel_scrapers_share_one_render_and_none_is_kept() -> None:
    async def test() -> None:
        async with serving(Limits()) as agent:
            agent.gate.clear()
            clients = [await agent.connect() for _ in range(8)]
            for client in clients:
                client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
            await until(lambda: agent.being_answered == 8 and len(agent.renders) > 0)
            agent.gate.set()
            assert [(await client.answer()).body for client in clients] == [b"x 1\n"] * 8
            assert len(agent.renders) == 1
            await agent.ask("/metrics")
            assert len(agent.renders) == 2

    play(test)


def test_serving_a_scrape_imports_neither_click_nor_jinja2_nor_h11() -> None:
    code = (
        "import sys, exporter.web.app, exporter.web.server\n"
        "heavy = {'click', 'h11', 'jinja2', 'multiprocessing', 'watchfiles', 'websockets'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import uvicorn.main; print(callable(uvicorn.main.run))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\nTrue\n"


def test_a_page_s_own_style_holds_and_nothing_else_does() -> None:
    answer = ask("/")
    style = answer.body.split(b"<style>")[1].split(b"</style>")[0]
    digest = b64encode(sha256(style).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert answer.body.count(b"<style>") == 1
    assert b"style=" not in answer.body
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"


def test_a_text_that_looks_like_a_style_is_not_allowed_to_be_one() -> None:
    evil = "</style><style>*{display:none}</style>"
    answer = ask("/", status=lambda: STATUS._replace(node=evil))
    assert answer.headers["content-security-policy"].count("sha256-") == 1


def test_the_status_is_served_as_json() -> None:
    answer = ask("/status.json")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["node"] == "node-a"
