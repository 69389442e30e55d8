"""Requests at a fixed rate, whatever the answers do: latency counts from when each was meant to go.

    python client.py FILE REDIS_PORT HTTP_PORT LOOPS RATE

So a victim that stalls is charged with all that would have come meanwhile. Every answer becomes
three doubles in FILE: service (0 redis, 1 http), meant (CLOCK_MONOTONIC), latency in seconds.
Each second a line of JSON goes to stdout, as an application answers who asks for its SLO: p99 of
the last 5 s in ms, what has no answer yet counted with its age.

stdin: `rate redis 2.0` (times RATE), `objective redis 4.5` (ms; nothing is told before), EOF ends.
One thread, real-time priority: it stands for a machine that nobody disturbs. Imports nothing of
kernmesh.
"""

import json
import os
import select
import socket
import sys
import time
from array import array
from collections import deque
from contextlib import suppress

SERVICES = ("redis", "http")
WINDOW_SECONDS = 5.0
_CONNECTIONS = 8
_AGAIN_SECONDS = 0.02


class Connection:
    """Requests in order; `meant` of those that have no answer yet."""

    def __init__(self, service: int, port: int) -> None:
        self.service, self._port = service, port
        self.meant: deque[float] = deque()
        self._socket: socket.socket | None = None
        self._retry = 0.0
        self._unsent: deque[bytes] = deque()
        self._buffer = bytearray()

    def fileno(self) -> int:
        assert self._socket is not None
        return self._socket.fileno()

    def ready(self, now: float) -> bool:
        if self._socket is None and now >= self._retry:
            self._retry = now + _AGAIN_SECONDS
            with suppress(OSError):
                self._socket = socket.create_connection(("127.0.0.1", self._port), 1.0)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for each in self._unsent:
                    self._socket.sendall(each)
                self._unsent.clear()
        return self._socket is not None

    def ask(self, meant: float, request: bytes) -> None:
        self.meant.append(meant)
        if self._socket is None:
            self._unsent.append(request)
            return
        try:
            self._socket.sendall(request)
        except OSError:
            self.lose(request)

    def answers(self) -> int:
        """How many came."""
        assert self._socket is not None
        try:
            data = self._socket.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self.lose()
            return 0
        self._buffer += data
        size = answer_size(self.service, self._buffer)
        if not size:
            return 0
        count = len(self._buffer) // size
        del self._buffer[: count * size]
        return min(count, len(self.meant))

    def lose(self, request: bytes | None = None) -> None:
        """Whoever answered is gone: what it had not answered is asked of the next one."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer.clear()
        again = REQUESTS[self.service] if request is None else request
        self._unsent = deque([again] * len(self.meant))


REQUESTS: list[bytes] = [b"", b"GET / HTTP/1.1\r\nHost: victim\r\n\r\n"]


def lua(loops: int) -> bytes:
    script = f"local x = 0 for i = 1, {loops} do x = (x + i) % 65521 end return 1"
    return b"*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n" % (len(script), script.encode())


def answer_size(service: int, data: bytes | bytearray) -> int:
    """All of a service's are of one size; 0: not enough of it is there yet."""
    if service == 0:
        return 4 if len(data) >= 4 else 0  # ":1\r\n"
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 0
    at = data.index(b"Content-Length: ") + len(b"Content-Length: ")
    size = end + 4 + int(data[at : data.index(b"\r\n", at)])
    return size if len(data) >= size else 0


class Service:
    def __init__(self, number: int, port: int, rate: float) -> None:
        self.number, self._base, self.rate = number, rate, rate
        self.connections = [Connection(number, port) for _ in range(_CONNECTIONS)]
        self._turn = 0
        self.due = time.monotonic()
        self.recent: deque[tuple[float, float]] = deque()  # meant, latency
        self.objective: float | None = None

    def send(self, now: float) -> None:
        while self.due <= now:
            connection = self.connections[self._turn % _CONNECTIONS]
            self._turn += 1
            connection.ask(self.due, REQUESTS[self.number])
            self.due += 1.0 / self.rate

    def times(self, factor: float) -> None:
        self.rate = self._base * factor
        self.due = time.monotonic()

    def p99(self, now: float) -> float | None:
        while self.recent and self.recent[0][0] < now - WINDOW_SECONDS:
            self.recent.popleft()
        found = [latency for _, latency in self.recent]
        found += [now - meant for each in self.connections for meant in each.meant]
        found.sort()
        return found[min(len(found) * 99 // 100, len(found) - 1)] if found else None


def report(services: list[Service], now: float) -> str:
    data = []
    for each in services:
        p99 = each.p99(now)
        if p99 is not None and each.objective is not None:
            data.append(
                {
                    "job_name": SERVICES[each.number],
                    "metric_name": "p99",
                    "value": p99 * 1000,
                    "slo": each.objective,
                }
            )
    return json.dumps({"code": 0, "msg": "success", "data": data})


def obey(services: list[Service], line: str) -> None:
    what, name, number = line.split()
    service = services[SERVICES.index(name)]
    if what == "rate":
        service.times(float(number))
    else:
        service.objective = float(number)


def main() -> None:
    path, redis_port, http_port, loops, rate = sys.argv[1:]
    REQUESTS[0] = lua(int(loops))
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    services = [
        Service(number, int(port), float(rate))
        for number, port in enumerate((redis_port, http_port))
    ]
    connections = [each for service in services for each in service.connections]
    told = time.monotonic() + 1.0
    answers = array("d")
    with open(path, "wb") as file:  # noqa: PTH123 # a script of its own
        while True:
            now = time.monotonic()
            live = [each for each in connections if each.ready(now)]
            for service in services:
                service.send(now)
            live = [each for each in live if each.ready(now)]
            if now >= told:
                told += 1.0
                print(report(services, now), flush=True)
                answers.tofile(file)
                file.flush()
                del answers[:]
            wait = min(min(service.due for service in services), told) - time.monotonic()
            by_number = {each.fileno(): each for each in live}
            readable, _, _ = select.select([0, *by_number], [], [], max(wait, 0.0))
            for number in readable:
                if number == 0:
                    text = os.read(0, 4096).decode()
                    if not text:
                        answers.tofile(file)
                        return
                    for line in text.splitlines():
                        obey(services, line)
                    continue
                each = by_number[number]
                count = each.answers()
                now = time.monotonic()
                for _ in range(count):
                    meant = each.meant.popleft()
                    services[each.service].recent.append((meant, now - meant))
                    answers.extend((float(each.service), meant, now - meant))


if __name__ == "__main__":
    main()
