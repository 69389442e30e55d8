"""What a server may answer, and what a client that shows who it is makes of it."""

import gzip

import pytest

from exporter.config import Duration
from exporter.errors import KernmeshError
from exporter.httpclient import HttpClient, fetch
from exporter.identity import Identity
from tests.labeller.answering import answering, http, run

GZIP = "content-encoding: gzip\r\n"
MOST = 1 << 20


def asked(answer: bytes, quoted: int = 0) -> bytes:
    found: list[bytes] = []

    async def inner() -> None:
        client = HttpClient(Identity("here"), False, lambda: {"timeout": 10.0})
        async with answering(lambda at, path: answer) as port:
            try:
                url = f"http://127.0.0.1:{port}/"
                opened = await client.open()
                found.append(await fetch(opened, url, Duration("10s"), MOST, quoted=quoted))
            finally:
                await client.close()

    run(inner)
    return found[0]


@pytest.mark.parametrize("body", [b"", b"text", b"x" * MOST])
def test_an_answer_is_unpacked_up_to_the_last_byte_that_it_may_have(body: bytes) -> None:
    assert asked(http(body)) == body
    assert asked(http(gzip.compress(body), headers=GZIP)) == body


@pytest.mark.parametrize(
    ("answer", "quoted", "said"),
    [
        (http(b"x" * (MOST + 1)), 0, "longer than 1 MiB"),
        (http(gzip.compress(b"x" * (64 * MOST)), headers=GZIP), 0, "longer than 1 MiB"),
        (http(b"no gzip", headers=GZIP), 0, "incorrect header check"),
        (http(b"what\nis this?", 400), 0, "HTTP 400"),
        (http(b"what\nis this?", 400), 9, "HTTP 400: what is t"),
        (http(b"", 400), 9, "HTTP 400"),
        (http(b"", 302, "location: http://127.0.0.1:1/\r\n"), 9, "HTTP 302"),
        (http(b"", 302, "location: :http://[/\r\n"), 9, "Invalid IPv6 URL"),
    ],
)
def test_whatever_is_no_answer_is_one_line(answer: bytes, quoted: int, said: str) -> None:
    with pytest.raises(KernmeshError) as raised:
        asked(answer, quoted)
    assert str(raised.value).endswith(said)
