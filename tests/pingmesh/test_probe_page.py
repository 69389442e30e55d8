"""/probe for people: a page where a browser asks, Prometheus' text for all others; no other site's
page can make it probe."""

import pytest
from starlette.routing import Route

from pingmesh.guard import Guard
from pingmesh.ondemand import probe_route
from pingmesh.pages.probe import wants_html
from tests.web.serving import Answer, play, serving

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROMETHEUS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"


@pytest.mark.parametrize(
    ("accepts", "html"),
    [
        ([], False),
        (["*/*"], False),
        ([BROWSER], True),
        ([PROMETHEUS], False),
        (["text/plain", "text/html;q=0.5"], False),
        (["text/html;q=0"], False),
        (["text/html;q=x"], False),
        (["TEXT/HTML; Q=0.3"], True),
    ],
)
def test_who_would_rather_have_a_page_gets_one(accepts: list[str], html: bool) -> None:
    assert wants_html(accepts) is html


def ask(query: str, allow: bool = True, **headers: str) -> Answer:
    answers: list[Answer] = []

    async def test() -> None:
        route = probe_route(Guard(["loopback"]) if allow else None)
        assert isinstance(route, Route)
        async with serving(routes=[route]) as agent:
            client = await agent.connect()
            lines = "".join(f"{name.replace('_', '-')}: {v}\r\n" for name, v in headers.items())
            client.send(f"GET /probe{query} HTTP/1.1\r\nhost: a\r\n{lines}\r\n".encode())
            answers.append(await client.answer())

    play(test)
    return answers[0]


def text(answer: Answer) -> str:
    return answer.body.decode()


def test_a_browser_gets_each_phase_and_the_form_again() -> None:
    answer = ask("?target=127.0.0.1:1&module=tcp", accept=BROWSER)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<strong>Failed: refused</strong>" in text(answer)
    assert 'value="127.0.0.1:1"' in text(answer)
    assert '<option value="tcp" selected>' in text(answer)


@pytest.mark.parametrize("accept", ["", PROMETHEUS, "*/*"])
def test_all_others_get_prometheus_text(accept: str) -> None:
    answer = ask("?target=127.0.0.1:1&module=tcp", accept=accept)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "probe_success 0.0" in text(answer)


@pytest.mark.parametrize(
    ("query", "status", "line"),
    [
        ("", 400, "target is missing"),
        ("?target=10.0.0.1", 403, "this target is not in pingmesh.allow"),
        ("?target=127.0.0.1&module=x", 400, "module: unknown"),
        ("?target=%3Cb%3E", 400, "target: no host name"),
    ],
)
def test_what_is_refused_is_said_in_both_ways(query: str, status: int, line: str) -> None:
    plain, page = ask(query), ask(query, accept=BROWSER)
    assert plain.status == status
    assert text(plain).startswith(line)
    assert page.status == (status if query else 200)  # who has not asked is shown the form
    assert (line in text(page)) is bool(query)
    assert "<form" in text(page)
    assert "<b>" not in text(page)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_cannot_make_it_probe(site: str) -> None:
    answer = ask("?target=127.0.0.1:1", sec_fetch_site=site)
    assert answer.status == 403
    assert text(answer).startswith("a page of another site")


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_the_form_and_a_typed_address_can(site: str) -> None:
    assert ask("?target=127.0.0.1:1", sec_fetch_site=site).status == 200


def test_without_allowed_targets_there_is_no_form() -> None:
    answer = ask("?target=127.0.0.1", allow=False, accept=BROWSER)
    assert answer.status == 403
    assert "/probe is off" in text(answer)
    assert "<form" not in text(answer)
