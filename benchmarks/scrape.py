"""A whole scrape at the client: a BPF hash map of 10,000 and 100,000 entries with decoded labels,
served by a running agent, identity and gzip; beside it what prometheus_client needs only to render
as many samples, in the same run.

The Go exporter's figures for such maps (gzip off) were 112 ms and 1,830 ms on a like machine.
"""

import ctypes
import http.client
import json
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily

from benchmarks.programs import HERE, compile_bpf
from benchmarks.tables import NO_GOAL, Table, at_most, show
from tests.agent.running import Agent, running

ROUNDS = 15
SIZES = (10_000, 100_000)
GOALS_MS = {(10_000, ""): 16, (10_000, "gzip"): 24, (100_000, ""): 180, (100_000, "gzip"): 260}
FIRST_GOAL_MS = {100_000: 1000}
OPERATIONS = ("read", "write", "flush", "discard")


class WideMap:
    """The agent's map, reached by its id as any process of root's can."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
        shown = subprocess.run(
            ["bpftool", "--json", "map", "show", "name", "wide_ops_total"],
            check=True,
            capture_output=True,
        )
        found = json.loads(shown.stdout)
        number = found["id"] if isinstance(found, dict) else found[-1]["id"]
        self._fd = self._lib.bpf_map_get_fd_by_id(ctypes.c_uint32(number))
        assert self._fd >= 0, "the agent's map is not to be had"
        self._chance = random.Random(1)

    def close(self) -> None:
        os.close(self._fd)

    def fill(self, count: int, share: float = 1.0) -> None:
        """Puts `count` entries in, of which this share gets a new value."""
        chosen = [n for n in range(count) if share >= 1 or self._chance.random() < share]
        keys = b"".join(struct.pack("=QII", 10**6 + n // 4, n % 4, 0) for n in chosen)
        values = struct.pack(
            f"={len(chosen)}Q", *(int(10 ** self._chance.uniform(0, 9)) for _ in chosen)
        )
        size = ctypes.c_uint32(len(chosen))
        result = self._lib.bpf_map_update_batch(self._fd, keys, values, ctypes.byref(size), None)
        assert result == 0 and size.value == len(chosen), "the map was not filled"


def scrape_ms(client: http.client.HTTPConnection, encoding: str) -> tuple[float, int]:
    headers = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": encoding or "identity"}
    started = time.perf_counter()
    client.request("GET", "/metrics", headers=headers)
    body = client.getresponse().read()
    return (time.perf_counter() - started) * 1000, len(body)


def reference_ms(count: int) -> float:
    """generate_latest over as many samples, nothing read, nothing sent."""
    family = CounterMetricFamily("wide_ops", "Operations.", labels=["object", "operation"])
    for n in range(count):
        family.add_metric([str(10**6 + n // 4), OPERATIONS[n % 4]], 10 ** (n % 9))
    registry = CollectorRegistry()
    registry.register(_Given(family))
    times = []
    for _ in range(3):
        started = time.perf_counter()
        generate_latest(registry)
        times.append((time.perf_counter() - started) * 1000)
    return median(times)


class _Given:
    def __init__(self, family: CounterMetricFamily) -> None:
        self._family = family

    def collect(self) -> list[CounterMetricFamily]:
        return [self._family]


def tables() -> Iterator[Table]:
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        compile_bpf("wide", Path(folder))
        shutil.copy(HERE / "wide.yaml", folder)
        config = Path(folder) / "agent.yaml"
        config.write_text(
            f"ebpf: {{programs: [wide], dirs: [{folder}], max_series: {max(SIZES)}}}\n"
        )
        for count in SIZES:
            with running("--config", config) as agent:
                rows += _rows(agent, count)
    yield Table(
        "A scrape at the client",
        ("map entries", "scrape", "took", "goal", "met", "body", "peer"),
        tuple(rows),
        (
            f"Medians of {ROUNDS} rounds over one kept connection on loopback; before each, every "
            "value in the map is changed. The first is one, of keys that were never read before. "
            "Peer: prometheus_client's generate_latest on as many samples, without reading or "
            "sending.",
        ),
    )


def _rows(agent: Agent, count: int) -> Iterator[tuple[str, ...]]:
    client = http.client.HTTPConnection(agent.url.removeprefix("http://"))
    with closing(client), closing(WideMap()) as wide:
        wide.fill(count)
        first, size = scrape_ms(client, "")
        text = agent.get("/metrics")
        assert sum("wide_ops_total{" in line for line in text.splitlines()) == count
        goal = FIRST_GOAL_MS.get(count)
        cells = at_most(first, goal, "ms") if goal else NO_GOAL
        yield _row(count, "identity, the first", first, cells, size, reference_ms(count))
        for encoding in ("", "gzip"):
            times: list[float] = []
            for _ in range(ROUNDS):
                wide.fill(count)
                took, size = scrape_ms(client, encoding)
                times.append(took)
            took = median(times)
            cells = at_most(took, GOALS_MS[count, encoding], "ms")
            yield _row(count, encoding or "identity", took, cells, size)


def _row(
    count: int, what: str, took: float, goal: tuple[str, str], size: int, peer: float | None = None
) -> tuple[str, ...]:
    beside = "" if peer is None else f"{peer:.0f} ms"
    return f"{count:,}", what, f"{took:.1f} ms", *goal, f"{size / 1000:,.0f} kB", beside


if __name__ == "__main__":
    show(tables())
