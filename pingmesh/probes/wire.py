"""One datagram socket for many targets: sent from, drained in batches, its errors told apart.

The rule: what cannot be traced to a probe of ours is counted, never believed. Knows bytes and
addresses; no list, no schedule. Linux: include/uapi/linux/{errqueue,in,in6,icmp}.h.
"""

import errno
import socket
import struct
from contextlib import suppress
from typing import Final, Protocol

from pingmesh.datagrams import SLOTS, SO_RXQ_OVFL, SO_TIMESTAMPNS, Post
from pingmesh.probes.packets import Token, reason_of

_SO_RCVBUFFORCE = 33
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER = 10, 23
_PMTUDISC_WANT, _PMTUDISC_DO = 1, 2
_ORIGIN_LOCAL = 1
_ORIGINS_ICMP = (2, 3)
_ANCILLARY_BYTES = 256
_RECEIVE_BYTES = 4 << 20
_EXTENDED_ERROR = struct.Struct("@IBBBBII")
_AT_ONCE = 2048
_V6_HOP = slice(_EXTENDED_ERROR.size + 8, _EXTENDED_ERROR.size + 24)
_V4_HOP = slice(_EXTENDED_ERROR.size + 4, _EXTENDED_ERROR.size + 8)

LOSS: Final = {
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EINVAL: "unreachable",  # a loopback source to an outer address
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EPERM: "prohibited",
    errno.EACCES: "prohibited",
    errno.EMSGSIZE: "mtu",
    errno.ETIMEDOUT: "timeout",
}
LOCAL: Final = {
    errno.ENOBUFS: "buffers",
    errno.ENOMEM: "buffers",
    errno.EAGAIN: "buffers",
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
}


def reason_for(error: OSError) -> str:
    """Why this probe failed, or was not made."""
    number = error.errno or 0
    return LOCAL.get(number) or LOSS.get(number, "error")


class Sink(Protocol):
    """Where what a wire reads goes."""

    def reply(self, number: int, slot: int, cookie: int, source: str, arrived_ns: int) -> None:
        """`arrived_ns`: CLOCK_REALTIME, as the kernel stamped it; 0 where it did not."""

    def error(
        self, token: Token | None, sequence: int, destination: str, reason: str, hop: str
    ) -> None: ...

    def stray(self, kind: str) -> None: ...


class Wire:
    """One of a kind, family and way of fragmenting; closed by whoever opened it."""

    def __init__(
        self, family: int, kind: int, protocol: int, source: str = "", fragment: bool = True
    ) -> None:
        """Raises OSError where there can be no such socket."""
        self.family = family
        self.sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        try:
            self._set_up(source, fragment)
        except OSError:
            self.sock.close()
            raise
        self._post = Post(self.sock)

    def _set_up(self, source: str, fragment: bool) -> None:
        sock, v6 = self.sock, self.family == socket.AF_INET6
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
        if sock.type != socket.SOCK_RAW:
            sock.setsockopt(level, _IPV6_RECVERR if v6 else _IP_RECVERR, 1)
        discover = _PMTUDISC_WANT if fragment else _PMTUDISC_DO
        sock.setsockopt(level, _IPV6_MTU_DISCOVER if v6 else _IP_MTU_DISCOVER, discover)
        if source:
            sock.bind((source, 0))

    def pack(self, number: int, slot: int, cookie: int, size: int) -> bytes:
        """A probe's datagram: what a token has, and `size` bytes at least."""
        raise NotImplementedError

    def read(self, data: bytes, source: str, arrived_ns: int, sink: Sink) -> None:
        """One datagram that came in."""
        raise NotImplementedError

    def quoted(self, data: bytes) -> tuple[Token | None, int]:
        """Token and sequence number of a datagram of ours that an error gives back."""
        raise NotImplementedError

    def send(self, packet: bytes, address: bytes, sink: Sink) -> None:
        """`address` as datagrams.sockaddr made it. Raises OSError where it did not leave."""
        try:
            self._post.send(packet, address)
        except OSError:
            # An earlier probe's ICMP error is reported by whatever call comes next.
            if not self.drain_errors(sink):
                raise
            self._post.send(packet, address)

    def drain(self, sink: Sink) -> int:
        """Reads all that is there; how many datagrams it was."""
        total = 0
        while total < _AT_ONCE:
            try:
                found = self._post.receive()
            except OSError:
                if not self.drain_errors(sink):
                    return total
                continue
            for data, source, arrived_ns in found:
                self.read(data, source, arrived_ns, sink)
            total += len(found)
            if len(found) < SLOTS:
                return total
        return total

    @property
    def overflow(self) -> int:
        """Datagrams that the kernel dropped because nobody read in time."""
        return self._post.overflow

    def drain_errors(self, sink: Sink) -> int:
        """Reads the error queue; how many entries it had."""
        if self.sock.type == socket.SOCK_RAW:
            return 0
        for count in range(_AT_ONCE):
            try:
                data, ancillary, _, address = self.sock.recvmsg(
                    2048, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE
                )
            except OSError:
                return count
            for _, kind, value in ancillary:
                if kind in (_IP_RECVERR, _IPV6_RECVERR) and len(value) >= _EXTENDED_ERROR.size:
                    self._error(data, address[0] if address else "", value, sink)
        return _AT_ONCE

    def _error(self, data: bytes, destination: str, value: bytes, sink: Sink) -> None:
        number, origin, kind, code, _, _, _ = _EXTENDED_ERROR.unpack_from(value)
        reason: str | None = None
        hop = ""
        if origin in _ORIGINS_ICMP:
            reason = reason_of(self.family, kind, code)
            packed = value[_V6_HOP if self.family == socket.AF_INET6 else _V4_HOP]
            with suppress(ValueError, OSError):
                hop = socket.inet_ntop(self.family, packed)
        token, sequence = self.quoted(data)
        sink.error(token, sequence, destination, reason or reason_for(OSError(number, "")), hop)

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        self.sock.close()
