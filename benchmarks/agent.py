"""The agent as it is shipped (three programs, empty configuration): how soon it is ready, what it
weighs, what it costs when nothing but a scrape every 15 s happens, how soon it is gone. And with
all programs: the same, and what a scrape costs.

The Go exporter on a like machine: 38-43 MB, ready in 0.24-0.49 s; with 12 programs and 744 series
40 MB and 9.3 ms for a scrape.
"""

import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.process import cpu_seconds, resident_mb
from benchmarks.tables import NO_GOAL, Table, at_most, met, show
from tests.agent.running import COMMAND, OWN_STATE, running
from tests.peers import free_port

STARTS = 9
IDLE_SECONDS = 60
SCRAPE_SECONDS = 15
SCRAPES, SECONDS_BETWEEN_SCRAPES = 31, 0.5
GO_US_PER_SERIES = 9300 / 744
GOAL_SERIES = 1500


def start_and_stop_seconds(*arguments: str | Path) -> tuple[float, float]:
    """From exec to the first 200 of /-/ready, and from SIGTERM to the end."""
    port = free_port()
    started = time.monotonic()
    process = subprocess.Popen(
        [*OWN_STATE, *COMMAND, "agent", "--web.listen-address", f"127.0.0.1:{port}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not ready(port):
            assert process.poll() is None, "the agent ended"
            assert time.monotonic() - started < 60, "never ready"
            time.sleep(0.005)
        took = time.monotonic() - started
        stopping = time.monotonic()
        process.terminate()
        process.wait(60)
        return took, time.monotonic() - stopping
    finally:
        process.kill()


def ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as client:
            client.sendall(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.recv(16).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _start_and_stop(
    times: Sequence[tuple[float, float]], ready_goal: float
) -> Iterator[tuple[str, ...]]:
    began, ended = median(t[0] for t in times), median(t[1] for t in times)
    yield "ready after exec", f"{began:.2f} s", *at_most(began, ready_goal, "s")
    yield "gone after SIGTERM", f"{ended:.2f} s", *at_most(ended, 2, "s")


def measure() -> Table:
    times = [start_and_stop_seconds() for _ in range(STARTS)]
    with running() as agent:
        agent.get("/metrics")
        pid = agent.process.pid
        before, began = cpu_seconds(pid), time.monotonic()
        while time.monotonic() - began < IDLE_SECONDS:
            time.sleep(SCRAPE_SECONDS)
            agent.get("/metrics")
        share = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        resident = resident_mb(pid)
    return Table(
        "The agent with its three programs",
        ("what", "measured", "goal", "met"),
        (
            *_start_and_stop(times, 0.6),
            ("RSS", f"{resident:.1f} MB", *at_most(resident, 40, "MB")),
            ("CPU, idle", f"{share * 100:.2f} % of a core", *at_most(share * 100, 0.1, "%")),
        ),
        (
            f"Medians of {STARTS} starts with warm files; CPU over {IDLE_SECONDS} s with a scrape "
            f"every {SCRAPE_SECONDS} s and a sample of usage every 10 s. Issue 4 allows it 48 "
            "MB for the day of usage that it keeps since.",
        ),
    )


def scrape_ms(client: http.client.HTTPConnection) -> tuple[float, int]:
    """Milliseconds of one scrape at the client, and the series that came."""
    started = time.perf_counter()
    client.request("GET", "/metrics", headers={"Accept-Encoding": "identity"})
    body = client.getresponse().read()
    took = (time.perf_counter() - started) * 1000
    return took, sum(not line.startswith(b"#") for line in body.splitlines())


def measure_all() -> Table:
    """With all programs; scrapes over a kept connection, as Prometheus has it."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "agent.yaml"
        config.write_text("ebpf: {programs: all}\n")
        times = [start_and_stop_seconds("--config", config) for _ in range(STARTS)]
        with running("--config", config) as agent:
            agent.wait_for(lambda started: "metrics:" in started.screen)
            client = http.client.HTTPConnection(agent.url.removeprefix("http://"))
            scrapes = []
            for _ in range(SCRAPES):
                time.sleep(SECONDS_BETWEEN_SCRAPES)
                scrapes.append(scrape_ms(client))
            resident = resident_mb(agent.process.pid)
            on = agent.screen.partition("programs: ")[2].partition("\n")[0]
    took, series = median(ms for ms, _ in scrapes), int(median(n for _, n in scrapes))
    per_series = took * 1000 / series
    return Table(
        "The agent with all programs",
        ("what", "measured", "goal", "met"),
        (
            ("programs", on, *NO_GOAL),
            *_start_and_stop(times, 1.5),
            ("RSS", f"{resident:.1f} MB", *at_most(resident, 60, "MB")),
            (
                f"a scrape of {series:,} series",
                f"{took:.1f} ms",
                f"≤ 25 ms at {GOAL_SERIES:,}",
                met(took * max(1.0, GOAL_SERIES / series) <= 25),
            ),
            (
                "the same per series",
                f"{per_series:.1f} µs",
                f"< {GO_US_PER_SERIES:.1f} µs",
                met(per_series < GO_US_PER_SERIES),
            ),
        ),
        (
            f"Medians of {STARTS} starts with warm files, and of {SCRAPES} scrapes at the client, "
            f"one in {SECONDS_BETWEEN_SCRAPES} s. Of fewer series than the goal speaks of, a "
            "scrape is taken to last as much longer. The last goal is the Go exporter's: "
            "744 series in 9.3 ms.",
        ),
    )


def tables() -> Iterator[Table]:
    yield measure()
    yield measure_all()


if __name__ == "__main__":
    show(tables())
