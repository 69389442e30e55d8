"""UDP echo between agents: one socket per family for all targets, and the responder.

The responder answers requests only, and answers are no requests: two of them cannot talk to each
other. An answer is as long as its request, so nothing is amplified.
"""

import asyncio
import socket

from pingmesh.probes.packets import REPLY, REQUEST, Token, body, read_token
from pingmesh.probes.wire import Sink, Wire

_AT_ONCE = 256


class UdpWire(Wire):
    def __init__(self, family: int, source: str = "", fragment: bool = True) -> None:
        super().__init__(family, socket.SOCK_DGRAM, socket.IPPROTO_UDP, source, fragment)

    def pack(self, number: int, slot: int, cookie: int, size: int) -> bytes:
        return body(number, slot, cookie, size)

    def read(self, data: bytes, source: str, arrived_ns: int, sink: Sink) -> None:
        token = read_token(data, 0, REPLY)
        if token is None:
            sink.stray("broken")
        else:
            sink.reply(*token, source, arrived_ns)

    def quoted(self, data: bytes) -> tuple[Token | None, int]:
        return read_token(data), -1


class Responder:
    """Echoes probes to whoever sent them. `answered` and `ignored` count since the start;
    `per_second` is how many it answers at most."""

    def __init__(self, host: str, port: int, per_second: int = 20_000) -> None:
        """Raises OSError where the address cannot be had. Call in the loop that will serve it."""
        self.answered = self.ignored = 0
        self._per_second = per_second
        self._second, self._in_second = 0, 0
        self._loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(host))
            self.sock.bind((host or "::", port))
        except OSError:
            self.sock.close()
            raise
        self._loop.add_reader(self.sock, self._read)

    def _read(self) -> None:
        second = int(self._loop.time())
        if second != self._second:
            self._second, self._in_second = second, 0
        for _ in range(_AT_ONCE):
            try:
                data, address = self.sock.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier answer
                continue
            if self._in_second >= self._per_second or read_token(data) is None:
                self.ignored += 1
                continue
            self._in_second += 1
            try:
                self.sock.sendto(REPLY + data[len(REQUEST) :], address)
                self.answered += 1
            except OSError:  # no room, no route: a lost packet like any other
                self.ignored += 1

    def close(self) -> None:
        self._loop.remove_reader(self.sock)
        self.sock.close()
