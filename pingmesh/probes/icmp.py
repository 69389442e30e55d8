"""ICMP echo for all targets of a family over one socket: datagram where the kernel allows it,
raw where net.ipv4.ping_group_range is closed.

A raw socket sees everybody's ICMP: identifier, token and source decide what is ours.
"""

import os
import socket
import struct

from pingmesh.probes.packets import (
    ECHO_BYTES,
    ECHO_REPLY,
    Token,
    echo_request,
    ip_header_bytes,
    read_echo,
    read_error,
    read_token,
)
from pingmesh.probes.wire import Sink, Wire

_PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
_SOL_RAW, _ICMP_FILTER = 255, 1
_ICMP6_FILTER = 1
_WANTED_V4 = (0, 3, 11, 12)
_WANTED_V6 = (129, 1, 2, 3, 4)


class IcmpWire(Wire):
    """`raw` says which kind of socket it came to be."""

    def __init__(self, family: int, source: str = "", fragment: bool = True) -> None:
        """Raises OSError: PermissionError where neither kind of socket is allowed."""
        protocol = _PROTOCOL[socket.AddressFamily(family)]
        self._ident = 0
        try:
            super().__init__(family, socket.SOCK_DGRAM, protocol, source, fragment)
            self.raw = False
        except PermissionError:
            super().__init__(family, socket.SOCK_RAW, protocol, source, fragment)
            self.raw = True
            self._ident = int.from_bytes(os.urandom(2), "big")
            self._filter()
        self._reply = ECHO_REPLY[socket.AddressFamily(family)]
        self._expected = self._ident if self.raw else -1
        self._headed = self.raw and family == socket.AF_INET

    def _filter(self) -> None:
        if self.family == socket.AF_INET:
            blocked = 0xFFFFFFFF
            for kind in _WANTED_V4:
                blocked &= ~(1 << kind)
            self.sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", blocked))
            return
        words = [0xFFFFFFFF] * 8
        for kind in _WANTED_V6:
            words[kind >> 5] &= ~(1 << (kind & 31))
        self.sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))

    def pack(self, number: int, slot: int, cookie: int, size: int) -> bytes:
        return echo_request(self.family, self._ident, number, slot, cookie, size)

    def read(self, data: bytes, source: str, arrived_ns: int, sink: Sink) -> None:
        start = ip_header_bytes(data) if self._headed else 0
        token = read_echo(data, start, self._reply, self._expected)
        if token is not None:
            if self._headed and not _is_sound(data, start):
                sink.stray("broken")
                return
            sink.reply(*token, source, arrived_ns)
        elif len(data) < start + ECHO_BYTES:
            sink.stray("broken")
        elif data[start] != self._reply:
            self._read_error(data, start, source, sink)
        elif self._expected in (-1, int.from_bytes(data[start + 4 : start + 6], "big")):
            sink.stray("broken")  # else somebody else's, of which a raw socket gets a copy

    def _read_error(self, data: bytes, start: int, source: str, sink: Sink) -> None:
        quote = read_error(self.family, data, start)
        if quote is not None and quote.ident == self._ident:
            sink.error(quote.token, quote.sequence, quote.destination, quote.reason, source)

    def quoted(self, data: bytes) -> tuple[Token | None, int]:
        if len(data) < ECHO_BYTES:
            return None, -1
        return read_token(data, ECHO_BYTES), int.from_bytes(data[6:8], "big")


def _is_sound(data: bytes, start: int) -> bool:
    """Its checksum is right (RFC 1071): the sum of all words is 0 modulo 0xFFFF. A raw IPv4 socket
    gets a copy before the kernel looks at that; others do not."""
    message = data[start:] + b"\0" * ((len(data) - start) % 2)
    return int.from_bytes(message, "big") % 0xFFFF == 0
