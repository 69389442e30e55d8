"""A role of kernmesh in a process of its own, as a user starts it: the controller, the labeller.

Its port is read off its screen. The agent has tests/agent/running.py.
"""

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Role:
    """`pid` for what it costs."""

    def __init__(self, name: str, config: Path) -> None:
        command = (sys.executable, "-m", "exporter.cli", name, "--config", str(config))
        self._process = subprocess.Popen(
            [*command, "--web.listen-address", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        screen = ""
        for line in self._process.stdout:
            screen += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)\b", line):
                self.port = int(found[1])
                return
        raise RuntimeError(f"{name} ended: {screen}")

    def sample(self, name: str) -> float:
        """Of a series without labels; 0 where it is not there."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def running(name: str, config: Path) -> Iterator[Role]:
    role = Role(name, config)
    try:
        yield role
    finally:
        role.stop()
