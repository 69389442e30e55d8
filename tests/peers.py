"""Programs of others beside ours, as the Makefile unpacks them: a real Prometheus, and its API."""

import json
import os
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

PEERS = Path(__file__).resolve().parents[1] / ".cache/peers"
PROGRAMS = PEERS / "usr/bin"
WATCHDOG_SECONDS = 60.0
_KEYS = {"match": "match[]"}


def environment() -> dict[str, str]:
    """For what is unpacked: this process's own, with the libraries that came with it."""
    found = [*PEERS.glob("usr/lib/*-linux-gnu"), *PEERS.glob("lib/*-linux-gnu")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, found))}


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """On loopback, for a program that must be told one."""
    with socket.socket(type=kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Series(NamedTuple):
    labels: Mapping[str, str]
    value: float


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **query: str) -> Any:
        """The `data` of its answer. Raises urllib's HTTPError where it refuses."""
        words = urllib.parse.urlencode({_KEYS.get(key, key): text for key, text in query.items()})
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{words}", timeout=20) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str, at: float | None = None) -> list[Series]:
        """Now, or at a time; without what is not a number, as nothing can be drawn of it."""
        time_ = {} if at is None else {"time": f"{at:.3f}"}
        rows = self.ask("query", query=expression, **time_)["result"]
        found = [Series(row["metric"], float(row["value"][1])) for row in rows]
        return [series for series in found if series.value == series.value]

    def eventually(self, expression: str) -> list[Series]:
        """The first answer that has any series."""
        until = time.monotonic() + WATCHDOG_SECONDS
        while True:
            found: list[Series] = []
            with suppress(OSError):  # not up yet
                found = self.query(expression)
            if found:
                return found
            assert time.monotonic() < until, f"no series for {expression}"
            time.sleep(0.2)  # between polls of another process, not a synchronisation


@contextmanager
def prometheus(folder: Path, config: Mapping[str, Any]) -> Iterator[Prometheus]:
    """A running one, its configuration, data and log in `folder`."""
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                PROGRAMS / "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stderr=log,
        )
        try:
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(WATCHDOG_SECONDS)
