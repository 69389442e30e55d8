"""HTTP probes: CPU seconds per 1,000, ours beside httpx and prometheus-blackbox-exporter.

Each asks the same server in a process of its own, with one connection per probe; blackbox_exporter
is asked for a probe at a time, as Prometheus does, which is part of what it costs.
"""

import asyncio
import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from benchmarks import peers
from benchmarks.process import cpu_seconds
from benchmarks.tables import NO_GOAL, at_most
from exporter.clock import SystemClock
from pingmesh.connectionlane import attempt
from pingmesh.guard import Guard
from pingmesh.packetlane import Settings
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import probes
from pingmesh.resolve import Resolver, SystemLookup
from tests.peers import free_port

PROBES = 1000
GOAL_SECONDS = 0.6
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Server(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(ANSWER)
        self.transport.close()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def _process(*words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def _with_ours(url: str, count: int) -> None:
    [probe] = probes(targets(read_pinglist(f"mesh: {{a: {{ips: ['{url}']}}}}".encode())))
    resolver = Resolver(SystemClock(), SystemLookup(), socket.AF_INET)
    settings = Settings(60.0, 30.0, 1e6)  # no load may make it fail
    guard = Guard()
    for _ in range(count):
        outcome = await attempt(probe, settings, guard, resolver)
        assert outcome.rtt is not None, outcome


async def _with_httpx(url: str, count: int) -> None:
    import httpx

    transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        for _ in range(count):
            assert (await client.get(url)).status_code == 200


async def _spent(kind: str, url: str) -> float:
    work = {"ours": _with_ours, "httpx": _with_httpx}[kind]
    await work(url, PROBES)  # imports and caches
    before = time.process_time()
    await work(url, PROBES)
    return time.process_time() - before


def _with_blackbox(program: str, url: str) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write("modules: {plain: {prober: http, http: {preferred_ip_protocol: ip4}}}\n")
        file.flush()
        port = free_port()
        options = (f"--config.file={file.name}", f"--web.listen-address=127.0.0.1:{port}")
        with _process(program, "--log.level=error", *options) as process:
            client = _when_up(port)

            def work() -> None:
                for _ in range(PROBES):
                    client.request("GET", f"/probe?module=plain&target={url}")
                    assert b"probe_success 1" in client.getresponse().read()

            work()
            before = cpu_seconds(process.pid)
            work()
            return cpu_seconds(process.pid) - before


def _when_up(port: int) -> http.client.HTTPConnection:
    for _ in range(1_000_000):
        client = http.client.HTTPConnection("127.0.0.1", port)
        try:
            client.connect()
        except ConnectionRefusedError:
            continue
        return client
    raise AssertionError("blackbox_exporter does not listen")


def _of(kind: str, url: str, core: int, blackbox: str | None) -> float:
    if kind == "blackbox_exporter" and blackbox:
        return _with_blackbox(blackbox, url)
    words = ("taskset", "-c", str(core), sys.executable, "-m", "benchmarks.pingmesh_http")
    done = subprocess.run([*words, kind, url], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def rows(rounds: int, core: int) -> tuple[tuple[str, ...], ...]:
    """Who, CPU seconds per 1,000 probes, goal, met. Medians; one after the other in each round."""
    blackbox = peers.find("prometheus-blackbox-exporter")
    kinds = ["ours", "httpx", *(["blackbox_exporter"] if blackbox else [])]
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    server = (sys.executable, "-m", "benchmarks.pingmesh_http", "serve")
    with _process(*server) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}/"
        for _ in range(rounds):
            for kind in kinds:
                found[kind].append(_of(kind, url, core, blackbox) * 1000 / PROBES)
    seconds = {kind: median(found[kind]) for kind in kinds}
    goals = {"ours": at_most(seconds["ours"], GOAL_SECONDS, "CPU-s")}
    return tuple(
        (f"HTTP, {kind}", f"{seconds[kind]:.2f} CPU-s", *goals.get(kind, NO_GOAL)) for kind in kinds
    )


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    if kind == "serve":
        asyncio.run(_serve())
    else:
        print(asyncio.run(_spent(kind, *rest)))
