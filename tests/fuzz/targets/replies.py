"""HTTP answers, byte by byte: to probes, to the labeller's lean client, to who pulls pinglists and
mesh results, to who asks Prometheus, the Kubernetes API or an agent. Over sockets of loopback.

What the bodies mean is asked in `kube` and `metrics`.
"""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

import httpx

from exporter.clock import SystemClock
from exporter.config import Duration
from exporter.errors import KernmeshError
from exporter.httpclient import HttpClient, fetch
from exporter.kube.access import Access
from exporter.kube.api import NODES
from exporter.kube.client import KubeClient
from exporter.labeller.lean_http import Reply, get_all
from exporter.terminal.asking import Asker
from pingmesh.controller_config import MeshConfig
from pingmesh.mesh_client import make_client
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import Probe, probes
from pingmesh.probes import Way
from pingmesh.probes import http as http_probe
from pingmesh.source import PullSource
from tests.fuzz.loopback import loopback
from tests.fuzz.mutate import Mutate, spoil_bytes, spoil_json, spoil_text, spoil_yaml
from tests.fuzz.target import Case, Target

_SECONDS = 3.0
_LIST = b"mesh: {a: {ips: [127.0.0.1, 'http://[::1]:80/x'], labels: {zone: z}}}\n"
_OK = b"HTTP/1.1 200 OK\r\n"


def _url() -> str:
    return f"http://127.0.0.1:{loopback().tcp_port}"


@cache
def _probe() -> Probe:
    group = f"ips: ['{_url()}/x?y'], expect: {{body: 'o+k', status: [200, 204]}}"
    [probe] = probes(targets(read_pinglist(f"mesh: {{a: {{{group}}}}}".encode())))
    return probe


def _probed(data: bytes) -> None:
    """A probe may raise OSError and TimeoutError, nothing else (pingmesh/probes/__init__.py)."""

    async def ask() -> object:
        deadline = asyncio.get_running_loop().time() + _SECONDS
        return await http_probe.run(_probe(), Way("127.0.0.1", "", deadline))

    outcome = loopback().play(ask, data)
    assert (outcome.rtt is None) == bool(outcome.reason)


def _lean(data: bytes) -> None:
    port = loopback().tcp_port
    paths = ("/statistics", "/interference")
    found = loopback().play(lambda: get_all("127.0.0.1", port, paths, 1 << 16, _SECONDS), data)
    assert len(found) == 2
    assert all(isinstance(each, bytes | Reply | KernmeshError) for each in found)


# Clients are kept, as the product keeps them: to make one takes longer than to ask.


@cache
def _source() -> PullSource:
    return PullSource(_url(), "node-a")


@cache
def _results() -> HttpClient:
    return make_client(MeshConfig())


@cache
def _api() -> KubeClient:
    return KubeClient(Access("test", _url(), token="t"), SystemClock(), timeout=_SECONDS)


@cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=_SECONDS, trust_env=False)


def _pulled(data: bytes) -> None:
    loopback().play(_source().read, data)


def _fetched(data: bytes) -> None:
    async def ask() -> None:
        await fetch(await _results().open(), _url(), Duration("3s"), 1 << 16)

    loopback().play(ask, data)


def _kube(data: bytes) -> None:
    loopback().play(lambda: _api().list_page(NODES), data)


def _top(data: bytes) -> None:
    """It blocks, so it asks from a thread while the loop serves."""
    asker = Asker(_client(), _url(), SystemClock())
    loopback().play(lambda: asyncio.to_thread(asker.ask), data)


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole one, as a server would send it."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    half = len(body) // 2
    pieces = b"".join(
        b"%x\r\n%s\r\n" % (len(each), each) for each in (body[:half], body[half:], b"")
    )
    return _OK + b"Transfer-Encoding: chunked\r\n\r\n" + pieces


def _answers(body: bytes, *others: bytes) -> Callable[[], list[bytes]]:
    return lambda: [
        answer(body, b'ETag: "x"', b"Content-Type: application/json"),
        answer(gzip.compress(body), b"Content-Encoding: gzip"),
        chunked(body),
        _OK + b"Connection: close\r\n\r\n" + body,
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(body),
        answer(b"", b"Location: http://[/", status=b"302 Found"),
        answer(body, b"Retry-After: 5", status=b"503 Service Unavailable"),
        *others,
    ]


def spoil_answer(of_body: Mutate) -> Mutate:
    """Head or body; a body's length is put right again where it was said, mostly."""

    def spoil(data: bytes, chance: Random) -> bytes:
        head, blank, body = data.partition(b"\r\n\r\n")
        if chance.random() < 0.4:
            return (
                spoil_text(head.replace(b"\r", b""), chance).replace(b"\n", b"\r\n") + blank + body
            )
        packed = b"gzip" in head
        if packed and chance.random() < 0.8:
            try:
                body = gzip.compress(of_body(gzip.decompress(body), chance), 1)
            except (OSError, EOFError, zlib.error):
                body = spoil_bytes(body, chance)
        else:
            body = of_body(body, chance)
        lines = head.split(b"\r\n")
        if chance.randrange(5):
            said = b"Content-Length: "
            lines = [said + b"%d" % len(body) if each.startswith(said) else each for each in lines]
        return b"\r\n".join(lines) + blank + body

    return spoil


_STATUS = b'{"kind": "Status", "code": 410, "reason": "Gone", "details": {"retryAfterSeconds": 3}}'
_NODES = b'{"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}'
_LISTED = spoil_answer(spoil_yaml)
_JSON = spoil_answer(spoil_json)

TARGET = Target(
    "replies",
    "HTTP answers to probes, to the labeller, to who pulls lists and results, to who asks the "
    "Kubernetes API, and to `kernmesh top`",
    (
        Case("probe", _probed, _answers(b"ook"), spoil_answer(spoil_bytes), (OSError,)),
        Case("labeller", _lean, _answers(b'{"cpu": 1}', answer(b"{}") * 2), _JSON),
        Case("pinglist", _pulled, _answers(_LIST), _LISTED, examples=30),
        Case("results", _fetched, _answers(b"x 1\n"), spoil_answer(spoil_text), examples=30),
        Case(
            "kubernetes",
            _kube,
            _answers(_NODES, answer(_STATUS, status=b"410 Gone")),
            _JSON,
        ),
        Case("top", _top, _answers(b"{}"), _JSON, examples=30),
    ),
    8192,
)
