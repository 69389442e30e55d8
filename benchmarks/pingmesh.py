"""Pingmesh on one pinned core, loopback only, beside its peers in the same run:

    python -m benchmarks.pingmesh [targets [rounds]]

10,000 ICMP targets in 127.0.0.0/8 per 10 s against fping (from .cache/peers), while nobody
scrapes and while 100,000 series are rendered without pause; bursts; HTTP probes against httpx.
"""

import asyncio
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.tables import Table, markdown
from exporter.clock import SystemClock
from pingmesh.connectionlane import attempt
from pingmesh.flight import Flight
from pingmesh.guard import Guard
from pingmesh.packetlane import PacketLane, Settings
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import Outcome, Probe, probes
from pingmesh.resolve import Resolver, SystemLookup
from pingmesh.schedule import Plan

FPING = Path(__file__).resolve().parent.parent / ".cache" / "peers" / "usr" / "bin" / "fping"
PERIOD = 10.0
BURST = 80_000
HTTP_PROBES = 1000


def hosts(count: int) -> list[str]:
    return [f"127.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(1, count + 1)]


def listed(count: int) -> list[Probe]:
    text = "mesh: {a: {ips: [" + ", ".join(hosts(count)) + "]}}"
    return probes(targets(read_pinglist(text.encode())))


def cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def rss_mb() -> float:
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in x]
    return int(line.split()[1]) / 1024


class Rounds:
    """What each round cost, in CPU seconds of this process, and its round trips."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.cpu: list[float] = []
        self.rtts: list[float] = []
        self.lateness: list[float] = []
        self.lost = 0
        self.sending = 0.0
        self.done = asyncio.Event()
        self._last = cpu_seconds()

    def __call__(
        self,
        probes: Sequence[Probe],
        flight: Flight,
        plan: Plan,
        lateness: float,
        outcomes: Mapping[int, Outcome],
    ) -> None:
        now = cpu_seconds()
        self.cpu.append(now - self._last)
        self._last = now
        self.rtts += [rtt for rtt in flight.rtts if rtt == rtt]
        self.lost += len(flight.reasons)
        self.lateness.append(lateness)
        self.sending = max(flight.sent_at) - min(flight.sent_at)
        if len(self.cpu) == self.count:
            self.done.set()


async def run_rounds(count: int, rounds: int, period: float = PERIOD) -> Rounds:
    made = listed(count)
    resolver = Resolver(SystemClock(), SystemLookup(), socket.AF_INET)
    found = Rounds(rounds)
    lane = PacketLane(made, Settings(period, 2.0, 1e6, floor=period), Guard(), resolver, found)
    lane.start()
    await found.done.wait()
    lane.stop()
    return found


def child(kind: str, *arguments: int) -> list[float]:
    """The figures of one run in a process of its own on the last core."""
    words = [sys.executable, "-m", "benchmarks.pingmesh", f"--{kind}", *map(str, arguments)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def pin() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def our_rounds(count: int, rounds: int) -> list[float]:
    """CPU share, p50 and p99 in µs, worst lateness in ms, lost, RSS in MB."""
    found = asyncio.run(run_rounds(count, rounds + 1))
    rtts = sorted(found.rtts)
    return [
        median(found.cpu[1:]) / PERIOD * 100,
        rtts[len(rtts) // 2] * 1e6,
        rtts[len(rtts) * 99 // 100] * 1e6,
        max(found.lateness) * 1e3,
        float(found.lost),
        rss_mb(),
    ]


def our_burst(count: int) -> list[float]:
    """Probes per second where all are due at once, and what was lost."""

    async def main() -> list[float]:
        found = await run_rounds(count, 1, period=1e-3)
        return [count / found.sending, float(found.lost)]

    return asyncio.run(main())


def fping(count: int, rounds: int) -> tuple[float, float, float]:
    """CPU share, p50 and p99 in µs: the same targets, spread over the same period."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("\n".join(hosts(count)))
        file.flush()
        core = max(os.sched_getaffinity(0))
        before = cpu_seconds(resource.RUSAGE_CHILDREN)
        milliseconds = f"{PERIOD * 1000 / count:g}"
        period = f"{PERIOD * 1000:g}"
        words = ["taskset", "-c", str(core), str(FPING), "-q", "-C", str(rounds)]
        words += ["-p", period, "-i", milliseconds, "-t", "2000", "-f", file.name]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    spent = cpu_seconds(resource.RUSAGE_CHILDREN) - before
    rtts = sorted(float(word) for word in re.findall(r"(?<= )[0-9.]+(?=\s)", done.stderr + "\n"))
    return (
        spent / (PERIOD * rounds) * 100,
        rtts[len(rtts) // 2] * 1e3,
        rtts[len(rtts) * 99 // 100] * 1e3,
    )


class _Server(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.transport.close()


def _serve(ready: threading.Event, ports: list[int]) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await server.serve_forever()

    asyncio.run(main())


def server_process() -> tuple[subprocess.Popen[str], int]:
    words = [sys.executable, "-m", "benchmarks.pingmesh", "--server"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def http_cpu(port: int, count: int, ours: int) -> list[float]:
    """CPU seconds of `count` probes, one after the other."""
    url = f"http://127.0.0.1:{port}/"
    [probe] = probes(targets(read_pinglist(f"mesh: {{a: {{ips: ['{url}']}}}}".encode())))

    async def with_ours() -> None:
        resolver = Resolver(SystemClock(), SystemLookup(), socket.AF_INET)
        settings = Settings(PERIOD, 2.0, 1e6)
        for _ in range(count):
            outcome = await attempt(probe, settings, Guard(), resolver)
            assert outcome.rtt is not None, outcome

    async def with_httpx() -> None:
        import httpx

        transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            for _ in range(count):
                assert (await client.get(url)).status_code == 200

    async def main() -> float:
        work = with_ours if ours else with_httpx
        await work()  # imports and caches
        before = cpu_seconds()
        await work()
        return cpu_seconds() - before

    return [asyncio.run(main())]


def measure(count: int, rounds: int) -> Table:
    share, p50, p99, late, lost, rss = child("rounds", count, rounds)
    quarter = child("rounds", count // 4, rounds)
    burst, burst_lost = child("burst", BURST)
    rows = [
        ("ICMP, ours", f"{share:.2f} %", f"{p50:.1f} µs", f"{p99:.1f} µs", "≤ 1.1 × fping"),
        ("ICMP, ours, a quarter", f"{quarter[0]:.2f} %", f"{quarter[1]:.1f} µs",
         f"{quarter[2]:.1f} µs", "≤ 1.2 %"),
    ]  # fmt: skip
    if FPING.exists():
        theirs = fping(count, rounds)
        rows.append(("ICMP, fping", f"{theirs[0]:.2f} %", f"{theirs[1]:.1f} µs",
                     f"{theirs[2]:.1f} µs", ""))  # fmt: skip
    process, port = server_process()
    try:
        for name, ours in (("HTTP, ours", 1), ("HTTP, httpx", 0)):
            [spent] = child("http", port, HTTP_PROBES, ours)
            goal = "≤ 0.6 CPU-s" if ours else ""
            rows.append((name, f"{spent:.2f} CPU-s per 1,000", "", "", goal))
    finally:
        process.kill()
        process.wait()
    return Table(
        f"Pingmesh: {count:,} targets per {PERIOD:g} s on one core",
        ("what", "CPU", "p50", "p99", "goal"),
        tuple(rows),
        (
            f"Medians of {rounds} rounds, all targets in 127.0.0.0/8. Ours: {lost:g} lost, the "
            f"latest send {late:.0f} ms behind its time, RSS {rss:.0f} MB. A burst of {BURST:,}: "
            f"{burst:,.0f} probes/s, {burst_lost:g} lost.",
        ),
    )


def main(arguments: Sequence[str]) -> None:
    kind, *rest = arguments or ["10000", "2"]
    if kind == "--server":
        ready, ports = threading.Event(), list[int]()
        threading.Thread(target=_serve, args=(ready, ports), daemon=True).start()
        ready.wait()
        print(ports[0], flush=True)
        threading.Event().wait()
    numbers = [int(word) for word in rest]
    if kind.startswith("--"):
        pin()
        work = {"--rounds": our_rounds, "--burst": our_burst, "--http": http_cpu}[kind]
        print(*work(*numbers))  # type: ignore[operator] # each takes what its caller gives
    else:
        print(markdown(measure(int(kind), *(numbers or [2]))))


if __name__ == "__main__":
    main(sys.argv[1:])
