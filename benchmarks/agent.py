"""The agent as it is shipped (three programs, empty configuration): how soon it is ready, what it
weighs, what it costs when nothing but a scrape every 15 s happens, how soon it is gone. And with
all programs: the same, and what a scrape costs.

The Go exporter on a like machine: 38-43 MB, ready in 0.24-0.49 s; with 12 programs and 744 series
40 MB and 9.3 ms for a scrape.
"""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.tables import Table, markdown
from tests.agent.running import COMMAND, OWN_STATE, running

STARTS = 9
IDLE_SECONDS = 60
SCRAPE_SECONDS = 15
SCRAPES, SECONDS_BETWEEN_SCRAPES = 31, 0.5
GO_US_PER_SERIES = 9300 / 744
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise AssertionError("no VmRSS")


def start_and_stop_seconds(*arguments: str | Path) -> tuple[float, float]:
    """From exec to the first 200 of /-/ready, and from SIGTERM to the end."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    started = time.monotonic()
    process = subprocess.Popen(
        [*OWN_STATE, *COMMAND, "agent", "--web.listen-address", f"127.0.0.1:{port}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not ready(port):
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
        ("what", "measured", "goal"),
        (
            ("ready after exec", f"{median(t[0] for t in times):.2f} s", "≤ 0.6 s"),
            ("gone after SIGTERM", f"{median(t[1] for t in times):.2f} s", "≤ 2 s"),
            ("RSS", f"{resident:.1f} MB", "≤ 40 MB"),
            ("CPU, idle", f"{share * 100:.2f} % of a core", "≤ 0.1 %"),
        ),
        (
            f"Medians of {STARTS} starts with warm files; CPU over {IDLE_SECONDS} s with a scrape "
            f"every {SCRAPE_SECONDS} s and a sample of usage every 10 s. "
            f"Python {sys.version.split()[0]}.",
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
        ("what", "measured", "goal"),
        (
            ("programs", on, ""),
            ("ready after exec", f"{median(t[0] for t in times):.2f} s", "≤ 1.5 s"),
            ("gone after SIGTERM", f"{median(t[1] for t in times):.2f} s", "≤ 2 s"),
            ("RSS", f"{resident:.1f} MB", "≤ 60 MB"),
            (f"a scrape of {series:,} series", f"{took:.1f} ms", "≤ 25 ms at 1,500"),
            ("the same per series", f"{per_series:.1f} µs", f"< {GO_US_PER_SERIES:.1f} µs"),
        ),
        (
            f"Medians of {STARTS} starts with warm files, and of {SCRAPES} scrapes at the client, "
            f"one in {SECONDS_BETWEEN_SCRAPES} s. The last goal is the Go exporter's: 744 series "
            "in 9.3 ms.",
        ),
    )


def main(show: Callable[[str], None] = print) -> None:
    show(markdown(measure()))
    show(markdown(measure_all()))


if __name__ == "__main__":
    main()
