"""What applications answer of themselves: from a real server, and all that may be wrong with it."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import KernmeshError
from exporter.interference.sources.slo import (
    MOST_BYTES,
    SloReader,
    SloValue,
    from_url,
    parse_answer,
)
from exporter.testing import FakeClock

ROW = {"job_name": "shop", "metric_name": "p99", "value": 12.5, "slo": 10}


def answer(*rows: object, **rest: object) -> bytes:
    return json.dumps({"code": 0, "msg": "success", "data": list(rows), **rest}).encode()


def test_an_answer_is_values_beside_objectives() -> None:
    assert parse_answer(answer(ROW), "u") == [SloValue("shop", "p99", 12.5, 10.0)]
    assert parse_answer(answer({**ROW, "unit": "ms"}), "u")  # what is more does no harm
    assert parse_answer(answer(), "u") == []


@pytest.mark.parametrize("key", ["value", "slo"])
@pytest.mark.parametrize("value", [1e39, -1e39])
def test_what_the_store_cannot_keep_is_left_out_and_never_infinite(key: str, value: float) -> None:
    found = parse_answer(answer({**ROW, key: value}, ROW), "u")
    assert found == [SloValue("shop", "p99", 12.5, 10.0)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no answer of the form"),
        (b"<html>", "no answer of the form"),
        (answer({**ROW, "value": "12"}), "no answer of the form"),
        (answer({"job_name": "shop"}), "no answer of the form"),
        (answer(code=3, msg="no such host"), "answered code 3: no such host"),
        (answer(*[ROW] * 1001), "got 1001 values"),
        (answer({**ROW, "job_name": "x" * 201}), "over 200 characters"),
        (b" " * (MOST_BYTES + 1), "more than 1048576 bytes"),
        (b"[" * 100_000, "no answer of the form"),
    ],
)
def test_a_bad_answer_is_one_clear_line(text: bytes, why: str) -> None:
    with pytest.raises(KernmeshError, match=why) as caught:
        parse_answer(text, "http://app/slo")
    assert str(caught.value).startswith("http://app/slo: ")
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_whatever_it_answers_it_is_values_or_one_problem(text: bytes) -> None:
    try:
        assert isinstance(parse_answer(text, "u"), list)
    except KernmeshError as error:
        assert "u: " in str(error)


@contextmanager
def server(replies: list[bytes]) -> Iterator[str]:
    """Answers each in turn; with 500 where there are no more."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = replies.pop(0) if replies else b""
            self.send_response(200 if body else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/slo"
        finally:
            running.shutdown()
            thread.join()


def test_a_url_is_asked_and_an_answer_grows_old() -> None:
    clock = FakeClock()
    with server([answer(ROW)]) as url:
        reader = SloReader(clock, {url: from_url(url)}, 10.0)
        assert reader(0.0) == {}
        assert reader.ask_all() == []
        found = {series.name: value for series, value in reader(0.0).items()}
        assert found == {"slo/shop:p99.value": 12.5, "slo/shop:p99.objective": 10.0}
        clock.advance(20.0)
        (problem,) = reader.ask_all()  # it fails now: the last answer stands, for a while
        assert "cannot be asked" in problem
        assert len(reader(0.0)) == 2
        clock.advance(10.5)
        assert reader(0.0) == {}


def test_one_that_does_not_answer_hides_no_other() -> None:
    clock = FakeClock()

    def broken() -> bytes:
        raise OSError("connection refused")

    reader = SloReader(clock, {"a": broken, "b": lambda: answer(ROW)}, 10.0)
    assert reader.ask_all() == ["a: cannot be asked: connection refused"]
    assert len(reader(0.0)) == 2


@pytest.mark.parametrize(
    "reply",
    [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b""],
)
def test_what_answers_no_http_is_a_problem_and_ends_nobody_s_asking(reply: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_one() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(reply)

        thread = threading.Thread(target=answer_one)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/slo"
        reader = SloReader(FakeClock(), {url: from_url(url), "b": lambda: answer(ROW)}, 10.0)
        (problem,) = reader.ask_all()
        thread.join()
    assert problem.startswith(f"{url}: cannot be asked: ")
    assert len(reader(0.0)) == 2


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/", "host/slo"])
def test_only_http_is_asked(url: str) -> None:
    with pytest.raises(ValueError, match="want http"):
        from_url(url)
