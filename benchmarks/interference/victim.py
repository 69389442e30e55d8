"""The victim: redis-server and an HTTP server in the online cgroup, and the client that asks them.

The client stands in no cgroup of ours: it is somebody else's machine.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks import peers
from benchmarks.interference.cgroups import VICTIM, Cgroups
from benchmarks.interference.client import SERVICES, lua
from tests.peers import free_port

HERE = Path(__file__).parent
RATE = 300.0
REQUEST_SECONDS = 0.0007
FILE_BYTES = 64 << 20
_READY_SECONDS = 20.0


def program(name: str) -> str:
    """Unpacked (make .cache/peers/.servers .cache/peers/.load) or in PATH. Raises SystemExit."""
    found = peers.find(name)
    if found is None:
        raise SystemExit(
            f"interference: no {name}: make .cache/peers/.servers .cache/peers/.load, or install it"
        )
    return found


class Client:
    """`answer` is what the victim tells of itself: the last whole line of the client."""

    def __init__(self, path: Path, ports: tuple[int, int], loops: int) -> None:
        argv = [sys.executable, str(HERE / "client.py"), str(path), *map(str, ports), str(loops),
                str(RATE)]  # fmt: skip
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._text = b""
        self._answer = json.dumps({"code": 0, "msg": "success", "data": []}).encode()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def answer(self) -> bytes:
        assert self._process.stdout is not None
        number = self._process.stdout.fileno()
        while select.select([number], [], [], 0)[0]:
            data = os.read(number, 65_536)
            if not data:
                raise OSError("the client ended")
            self._text += data
        lines = self._text.split(b"\n")
        if len(lines) > 1:
            self._answer, self._text = lines[-2], lines[-1]
        return self._answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Victim:
    """`client` begins with the first `ask`."""

    def __init__(self, cgroups: Cgroups, folder: Path, scratch: Path) -> None:
        self._cgroups, self._folder = cgroups, folder
        self._ports = free_port(), free_port()
        self._file = scratch / "served"
        if not self._file.exists() or self._file.stat().st_size != FILE_BYTES:
            self._file.write_bytes(os.urandom(FILE_BYTES))
            with self._file.open("rb") as file:
                os.fsync(file.fileno())
        flags = ["--port", str(self._ports[0]), "--bind", "127.0.0.1", "--save", "", "--dir",
                 str(folder)]  # fmt: skip
        self._redis = cgroups.start(VICTIM, [program("redis-server"), *flags], peers.environment())
        self._http = self._serve()
        for port in self._ports:
            _wait_for(port)
        self.loops = _calibrated(self._ports[0])
        self.client: Client | None = None

    def ask(self, path: Path) -> Client:
        self.client = Client(path, self._ports, self.loops)
        return self.client

    def restart_cold(self) -> None:
        """The HTTP server only: redis has nothing to lose."""
        self._http.kill()
        self._http.wait()
        self._http = self._serve("cold")

    def _serve(self, *more: str) -> subprocess.Popen[bytes]:
        server = str(HERE / "http_server.py")
        argv = [sys.executable, "-S", server, str(self._ports[1]), str(self._file), *more]
        return self._cgroups.start(VICTIM, argv)

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
        for each in (self._redis, self._http):
            each.kill()
            each.wait()


@contextmanager
def victim(cgroups: Cgroups, folder: Path, scratch: Path) -> Iterator[Victim]:
    found = Victim(cgroups, folder, scratch)
    try:
        yield found
    finally:
        found.close()


class Latencies:
    """What a client wrote, by service: when each was meant (monotonic) and how long it took."""

    def __init__(self, path: Path) -> None:
        words = array("d")
        words.frombytes(path.read_bytes()[: path.stat().st_size // 24 * 24])
        self._of: dict[str, list[tuple[float, float]]] = {name: [] for name in SERVICES}
        for at in range(0, len(words), 3):
            self._of[SERVICES[int(words[at])]].append((words[at + 1], words[at + 2]))
        for rows in self._of.values():
            rows.sort()

    def between(self, service: str, start: float, stop: float) -> list[float]:
        """Latencies of requests that were meant to go then."""
        return [latency for meant, latency in self._of[service] if start <= meant < stop]


def _wait_for(port: int) -> None:
    until = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _calibrated(port: int) -> int:
    """Loops of Lua that take REQUEST_SECONDS of an undisturbed core."""
    loops = 20_000
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(4):
            took = []
            for _ in range(100):
                began = time.monotonic()
                sock.sendall(lua(loops))
                sock.recv(4)
                took.append(time.monotonic() - began)
            took.sort()
            loops = max(int(loops * REQUEST_SECONDS / median(took[:50])), 100)
    return loops
