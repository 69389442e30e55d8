"""An agent is asked over HTTP; whatever it answers, it is a frame or one line."""

import json
from collections.abc import Iterator

import httpx
import pytest

from exporter.errors import KernmeshError
from exporter.pages.status_json import status_json
from exporter.terminal.asking import MAX_BYTES, Asker, open_client
from exporter.testing import FakeClock
from tests.web.shown import CHARTS, STATUS

COUNT = 'kernmesh_ebpf_events_counted_total{program="%s"} %s\n'


def asker(clock: FakeClock, pages: Iterator[str], status: bytes | None = None) -> Asker:
    """`pages` are /metrics, one after the other."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/status.json":
            return httpx.Response(200, content=status or status_json(STATUS, CHARTS))
        return httpx.Response(200, text=next(pages))

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return Asker(client, "http://agent:9435/", clock)


def test_rates_are_between_two_answers_and_the_agent_s_own_before_the_second() -> None:
    clock = FakeClock()
    pages = iter([COUNT % ("timers", 100), COUNT % ("timers", 350.0), COUNT % ("timers", 5)])
    asking = asker(clock, pages)
    assert asking.ask().events == {"timers": 1203.6, "oomkill": 0.0}
    clock.advance(2.0)
    assert asking.ask().events == {"timers": 125.0, "oomkill": 0.0}
    clock.advance(2.0)  # it restarted
    assert asking.ask().events == {"timers": 1203.6, "oomkill": 0.0}


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (httpx.Response(503, text="busy"), "http://a/status.json: HTTP 503"),
        (httpx.Response(302, headers={"location": ":http://[/"}), "http://a: Invalid IPv6 URL"),
        (httpx.Response(200, content=b'{"version": "\xff"}'), "http://a: no kernmesh agent"),
        (httpx.Response(200, content=b'{"x": ' + b"[" * 5000), "http://a: no kernmesh agent"),
        (httpx.Response(200, text="<html>"), "http://a: no kernmesh agent of this version"),
        (httpx.Response(200, text=json.dumps({"version": 1})), "http://a: no kernmesh agent"),
        (httpx.Response(200, content=b" " * (MAX_BYTES + 1)), "http://a/status.json: more than"),
    ],
)
def test_an_answer_that_is_none_is_one_line(answer: httpx.Response, line: str) -> None:
    client = httpx.Client(transport=httpx.MockTransport(lambda request: answer))
    with pytest.raises(KernmeshError) as caught:
        Asker(client, "http://a", FakeClock()).ask()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_count_that_is_no_number_is_not_known() -> None:
    clock = FakeClock()
    asking = asker(clock, iter([COUNT % ("timers", "many"), COUNT % ("timers", 5)]))
    assert asking.ask().events == {"timers": 1203.6, "oomkill": 0.0}
    clock.advance(2.0)
    assert asking.ask().events == {"timers": 1203.6, "oomkill": 0.0}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[::1", "ftp://x"])
def test_an_agent_that_cannot_be_reached_is_one_line(url: str) -> None:
    with open_client(None) as client, pytest.raises(KernmeshError) as caught:
        Asker(client, url, FakeClock()).ask()
    assert str(caught.value).startswith(url)


def test_certificates_that_cannot_be_read_are_said() -> None:
    with pytest.raises(KernmeshError, match="--cacert: /no/such: "):
        open_client("/no/such")
