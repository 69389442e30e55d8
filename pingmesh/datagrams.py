"""Datagrams to and from the kernel with as little of Python between as there can be: one call for
many that came in, one for each that goes out with its address as the kernel has it.

The rule: no call here waits, so none gives up the interpreter's lock: a busy render thread does
not come between two probes. Knows no probe. recvmmsg(2), cmsg(3), <bits/socket.h>.
"""

import ctypes
import errno
import os
import socket
import struct
from functools import cache
from typing import Any

# <asm-generic/socket.h>: those that Python's socket module has no name for.
SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40

SLOTS = 128
"""Datagrams per call."""
DATA_BYTES = 256
"""Of each are kept: more than an ICMP error with both IP headers and what it quotes of ours."""

_NAME_BYTES, _CONTROL_BYTES = 32, 96
_STRIDE = _NAME_BYTES + _CONTROL_BYTES + DATA_BYTES
_IOVEC = struct.Struct("@PN")
_MMSGHDR = struct.Struct("@PIPNPNi0PI0P")
_CMSGHDR = struct.Struct("@Nii")
_TIMESPEC = struct.Struct("@ll")
_STAMPED = struct.Struct("@Niill")
_U32 = struct.Struct("@I")
_V4 = struct.Struct("@H2s4s8x")
_V6 = struct.Struct("@H2sI16sI")
_AT_V4, _AT_V6 = 4, 8


Datagram = tuple[bytes, str, int]
"""The first DATA_BYTES of one; its source without port and zone; nanoseconds of CLOCK_REALTIME
when it came in, as the kernel stamped it, 0 where it did not."""


def sockaddr(family: int, address: str, port: int, scope: int = 0) -> bytes:
    """struct sockaddr_in or sockaddr_in6. `address` is numeric and without its zone, which is
    `scope`. Raises OSError on anything else."""
    packed = socket.inet_pton(family, address)
    if family == socket.AF_INET:
        return _V4.pack(family, port.to_bytes(2, "big"), packed)
    return _V6.pack(family, port.to_bytes(2, "big"), 0, packed, scope)


@cache
def _libc() -> ctypes.PyDLL:
    """Called with the interpreter's lock held. Arguments are given as what C wants: that is
    faster than having ctypes turn each into it."""
    return ctypes.PyDLL(None, use_errno=True)


_length = cache(ctypes.c_size_t)
_NOW = ctypes.c_int(socket.MSG_DONTWAIT)
_SLOTS = ctypes.c_uint(SLOTS)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class Post:
    """Both ways of a socket. `overflow` is how many datagrams the kernel has dropped because
    there was no room in the socket's queue, as it said last."""

    def __init__(self, sock: socket.socket) -> None:
        """The socket stays its owner's to close."""
        self.overflow = 0
        self._fd = ctypes.c_int(sock.fileno())
        self._sendto, self._recvmmsg = _libc().sendto, _libc().recvmmsg
        self._family = family = sock.family
        self._at, self._address_bytes = (_AT_V4, 4) if family == socket.AF_INET else (_AT_V6, 16)
        # Any: slices of it are bytes, which typeshed does not know.
        self._room: Any = ctypes.create_string_buffer(_STRIDE * SLOTS)
        room = ctypes.addressof(self._room)
        parts = b"".join(
            _IOVEC.pack(room + _STRIDE * slot + _NAME_BYTES + _CONTROL_BYTES, DATA_BYTES)
            for slot in range(SLOTS)
        )
        self._parts = ctypes.create_string_buffer(parts, len(parts))
        part = ctypes.addressof(self._parts)
        self._fresh = b"".join(
            _MMSGHDR.pack(
                room + _STRIDE * slot, _NAME_BYTES, part + _IOVEC.size * slot, 1,
                room + _STRIDE * slot + _NAME_BYTES, _CONTROL_BYTES, 0, 0,
            )
            for slot in range(SLOTS)
        )  # fmt: skip
        self._heads = bytearray(self._fresh)
        self._head = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(self._heads)))
        self._name_bytes = ctypes.c_uint(_V4.size if family == socket.AF_INET else _V6.size)

    def send(self, packet: bytes, address: bytes) -> None:
        """`address` as `sockaddr` made it. Raises OSError where the packet did not leave."""
        length = _length(len(packet))
        if self._sendto(self._fd, packet, length, _NOW, address, self._name_bytes) < 0:
            raise _error()

    def receive(self) -> list[Datagram]:
        """What there is, at most SLOTS. Raises OSError with what an earlier datagram met."""
        count = self._recvmmsg(self._fd, self._head, _SLOTS, _NOW, None)
        if count < 0:
            error = _error()
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return []
            raise error
        used = _MMSGHDR.size * count
        found = []
        room, family, at, size = self._room, self._family, self._at, self._address_bytes
        start = 0
        for _, named, _, _, _, controls, _, length in _MMSGHDR.iter_unpack(
            memoryview(self._heads)[:used]
        ):
            source = ""
            if named >= at + size:
                source = socket.inet_ntop(family, room[start + at : start + at + size])
            control = start + _NAME_BYTES
            if controls == _STAMPED.size:
                _, _, kind, seconds, rest = _STAMPED.unpack_from(room, control)
                arrived_ns = seconds * 1_000_000_000 + rest if kind == SO_TIMESTAMPNS else 0
            else:
                arrived_ns = self._read_controls(control, control + controls)
            at_data = control + _CONTROL_BYTES
            data = room[at_data : at_data + min(length, DATA_BYTES)]
            found.append((data, source, arrived_ns))
            start += _STRIDE
        self._heads[:used] = self._fresh[:used]
        return found

    def _read_controls(self, at: int, end: int) -> int:
        """The arrival's time. Each message begins where a word does (CMSG_ALIGN)."""
        arrived_ns = 0
        word = _CMSGHDR.size - 8  # of a size_t
        while at + _CMSGHDR.size <= end:
            length, level, kind = _CMSGHDR.unpack_from(self._room, at)
            inner = at + _CMSGHDR.size
            if length < _CMSGHDR.size or at + length > end:
                break
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, rest = _TIMESPEC.unpack_from(self._room, inner)
                arrived_ns = seconds * 1_000_000_000 + rest
            elif level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL:
                (self.overflow,) = _U32.unpack_from(self._room, inner)
            at += (length + word - 1) & ~(word - 1)
        return arrived_ns
