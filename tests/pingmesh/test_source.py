"""Where lists come from: files that change, controllers that misbehave."""

import asyncio
import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import ConfigError, KernmeshError
from pingmesh.pinglist import targets
from pingmesh.source import FileSource, PullSource, Read

LIST = b"mesh: {a: {ips: [127.0.0.1]}}\n"


def hosts(read: Read | None) -> list[str]:
    assert read is not None
    return [target.text for target in targets(read.pinglist)]


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "pinglist.yaml"
    path.write_bytes(LIST)
    source = FileSource(path)
    assert hosts(asyncio.run(source.read())) == ["127.0.0.1"]
    assert asyncio.run(source.read()) is None
    path.write_text("mesh: {a: {ips: [127.0.0.2, 127.0.0.3]}}\n")
    assert hosts(asyncio.run(source.read())) == ["127.0.0.2", "127.0.0.3"]


def test_a_configmap_s_link_is_followed_when_it_moves(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"v{number}").mkdir()
        (tmp_path / f"v{number}" / "list").write_text(f"mesh: {{a: {{ips: [127.0.0.{number}]}}}}")
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "list").symlink_to("data/list")
    source = FileSource(tmp_path / "list")
    assert hosts(asyncio.run(source.read())) == ["127.0.0.1"]
    (tmp_path / "new").symlink_to("v2")
    (tmp_path / "new").replace(tmp_path / "data")
    assert hosts(asyncio.run(source.read())) == ["127.0.0.2"]


def test_a_bad_file_names_its_problems_at_every_turn_until_it_is_good(tmp_path: Path) -> None:
    path = tmp_path / "pinglist.yaml"
    source = FileSource(path)
    with pytest.raises(KernmeshError, match="cannot be read: No such file"):
        asyncio.run(source.read())
    path.write_text("mesh: {a: {ips: ['a b']}}\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="no host name or address"):
            asyncio.run(source.read())
    path.write_bytes(LIST)
    assert hosts(asyncio.run(source.read())) == ["127.0.0.1"]


Handle = Callable[[http.server.BaseHTTPRequestHandler], None]


class Controller(http.server.ThreadingHTTPServer):
    """Answers as `handle` says; `requests` are the headers that it was sent."""

    def __init__(self) -> None:
        self.handle: Handle = lambda request: None
        self.requests: list[dict[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append({"path": self.path, **dict(self.headers)})
                outer.handle(self)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def controller() -> Iterator[Controller]:
    made = Controller()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def answer(
    request: http.server.BaseHTTPRequestHandler, status: int, body: bytes, **headers: str
) -> None:
    request.send_response(status)
    for name, value in {"content_length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def pulled(source: PullSource, turns: int = 1) -> list[Read | None]:
    async def main() -> list[Read | None]:
        try:
            return [await source.read() for _ in range(turns)]
        finally:
            await source.close()

    return asyncio.run(main())


def test_a_list_is_pulled_by_node_and_not_again_while_its_tag_holds(
    controller: Controller,
) -> None:
    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        if request.headers.get("If-None-Match") == '"1"':
            answer(request, 304, b"")
        else:
            packed = gzip.compress(LIST)
            answer(request, 200, packed, etag='"1"', content_encoding="gzip")

    controller.handle = handle
    first, second = pulled(PullSource(controller.url + "/", "node/a"), turns=2)
    assert hosts(first) == ["127.0.0.1"]
    assert second is None
    assert [each["path"] for each in controller.requests] == ["/pinglist/node%2Fa"] * 2
    assert controller.requests[0]["Accept-Encoding"] == "gzip"


def redirect(request: http.server.BaseHTTPRequestHandler) -> None:
    answer(request, 302, b"", location="http://127.0.0.1:1/pinglist/n")


def half(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(LIST)
    request.close_connection = True


def endless(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(1 << 30))
    request.end_headers()
    block = b"# nothing\n" * 10_000
    while True:
        request.wfile.write(block)


def bomb(request: http.server.BaseHTTPRequestHandler) -> None:
    packed = gzip.compress(b"#" * (64 << 20), 1)
    answer(request, 200, packed, content_encoding="gzip")


@pytest.mark.parametrize(
    ("handle", "problem"),
    [
        (lambda r: answer(r, 500, b"oops"), "no list: HTTP 500"),
        (lambda r: answer(r, 404, b""), "no list: HTTP 404"),
        (lambda r: answer(r, 304, b""), "no list: HTTP 304"),
        (redirect, "a redirect, which is not followed: HTTP 302"),
        (half, "peer closed connection"),
        (lambda r: answer(r, 200, b"\xff\xfe\0"), "not UTF-8"),
        (lambda r: answer(r, 200, b"<html>"), "wrong kind"),
        (lambda r: answer(r, 200, LIST, content_encoding="gzip"), "Error -3 while decompressing"),
        (lambda r: answer(r, 200, b"mesh: {a: {probe: x}}"), "mesh.a.probe: unknown value"),
        (endless, "longer than 16 MiB"),
        (bomb, "longer than 16 MiB"),
        (lambda r: r.wfile.write(b"garbage\r\n\r\n"), "illegal"),
    ],
)
def test_a_controller_that_misbehaves_is_named_in_one_line(
    controller: Controller, handle: Handle, problem: str
) -> None:
    controller.handle = handle
    source = PullSource(controller.url, "n")
    with pytest.raises(KernmeshError) as caught:
        pulled(source)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{controller.url}/pinglist/n")
    assert "\n" not in str(caught.value)
    controller.handle = lambda request: answer(request, 200, LIST)
    assert hosts(pulled(source)[0]) == ["127.0.0.1"]


def test_pulls_are_jittered_and_back_off_to_the_period() -> None:
    source = PullSource("http://c", "n", period=60.0)
    pauses = {failures: [source.pause(failures) for _ in range(200)] for failures in range(12)}
    assert all(48 <= pause <= 72 for pause in pauses[0])
    assert max(pauses[0]) - min(pauses[0]) > 6
    assert all(4 <= pause <= 6 for pause in pauses[1])
    assert all(8 <= pause <= 12 for pause in pauses[2])
    assert all(48 <= pause <= 72 for pause in pauses[11])
