"""A real agent in a process of its own, as a user starts it; its URL is read off its screen."""

import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

WATCHDOG_SECONDS = 60.0
COMMAND = (sys.executable, "-m", "exporter.cli")
# Nothing of what an agent keeps by default outlives it, and none meets another's.
OWN_STATE = (
    *("unshare", "--mount", "sh", "-c"),
    'mkdir -p /var/lib/kernmesh && mount -t tmpfs none /var/lib/kernmesh && exec "$@"',
    "sh",
)
_URL = re.compile(r"^metrics: (\S+)/metrics", re.MULTILINE)


class Agent:
    """`screen` is what it printed on standard output, `log` what it wrote on standard error."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        prefix: Sequence[str] = (),
        command: Sequence[str] = (*COMMAND, "agent"),
    ) -> None:
        self.process = subprocess.Popen(
            [*OWN_STATE, *prefix, *command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._changed = threading.Condition()
        self.screen, self.log = "", ""
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in ("screen", "log")
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: str) -> None:
        pipe = self.process.stdout if stream == "screen" else self.process.stderr
        assert pipe is not None
        for line in pipe:
            with self._changed:
                setattr(self, stream, getattr(self, stream) + line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, what: Callable[["Agent"], bool]) -> None:
        """Until it is so, looked at anew with every line that the agent writes."""

        def settled() -> bool:
            return what(self) or self.process.poll() is not None

        with self._changed:
            self._changed.wait_for(settled, WATCHDOG_SECONDS)
            assert what(self), f"screen:\n{self.screen}\nlog:\n{self.log}"

    @property
    def url(self) -> str:
        self.wait_for(lambda agent: _URL.search(agent.screen) is not None)
        found = _URL.search(self.screen)
        assert found is not None
        return found[1]

    def get(self, path: str, method: str = "GET", accept: str = "*/*") -> str:
        """Raises urllib's HTTPError for anything but success."""
        request = urllib.request.Request(self.url + path, method=method, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=WATCHDOG_SECONDS) as answer:
            return str(answer.read(), "utf-8")

    def samples(self, names: Sequence[str] = ()) -> dict[str, float]:
        """One scrape: series as written, to value."""
        query = "&".join(f"name[]={name}" for name in names)
        lines = self.get(f"/metrics?{query}").splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {series: float(value) for series, value in pairs}

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Its exit code, all its output read."""
        code = self.process.wait(WATCHDOG_SECONDS)
        for reader in self._readers:
            reader.join(WATCHDOG_SECONDS)
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.ended()


@contextmanager
def running(
    *arguments: str | Path,
    listen: str = "127.0.0.1:0",
    prefix: Sequence[str] = (),
    command: Sequence[str] = (*COMMAND, "agent"),
) -> Iterator[Agent]:
    agent = Agent(["--web.listen-address", listen, *arguments], prefix, command)
    try:
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.process.kill()
        agent.ended()
