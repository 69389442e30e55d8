"""Bytes of ICMP and UDP probes: built, and read back. Pure.

Every probe carries a token: which round and probe it belongs to, and a random cookie that only
who saw the packet can know. Sources: RFC 792, RFC 4443, RFC 1071; include/uapi/linux/errqueue.h.
"""

import socket
import struct
from typing import NamedTuple

REQUEST, REPLY = b"kmP?", b"kmP!"
_TOKEN = struct.Struct(">4sIIQ")
TOKEN_BYTES = _TOKEN.size
_ECHO = struct.Struct(">BBHHH")
ECHO_BYTES = _ECHO.size
_PROBE = struct.Struct(">BBHHH4sIIQ")
_SUMMED = (0x0800 + int.from_bytes(REQUEST, "big")) % 0xFFFF
"""What every echo request over IPv4 has in it, as the checksum sees it."""

ECHO_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
ECHO_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}


class Token(NamedTuple):
    """`number` is the round's, `slot` the probe's in it, both 32 bits; `cookie` has 64."""

    number: int
    slot: int
    cookie: int


class Quote(NamedTuple):
    """What an ICMP error says of a packet of ours. `token` None where too little is quoted."""

    reason: str
    destination: str
    ident: int
    sequence: int
    token: Token | None


def body(number: int, slot: int, cookie: int, size: int = 0, mark: bytes = REQUEST) -> bytes:
    """A probe's payload: the token, and zeroes up to `size` bytes."""
    return _TOKEN.pack(mark, number, slot, cookie).ljust(size, b"\0")


def read_token(data: bytes, offset: int = 0, mark: bytes = REQUEST) -> Token | None:
    """None where there is none of ours."""
    if len(data) - offset < TOKEN_BYTES:
        return None
    found, number, index, cookie = _TOKEN.unpack_from(data, offset)
    return Token(number, index, cookie) if found == mark else None


def echo_request(
    family: int, ident: int, number: int, slot: int, cookie: int, size: int = 0
) -> bytes:
    """An ICMP echo request with a token and `size` bytes of payload at least; its sequence number
    is the slot's lower half. IPv6's checksum is the kernel's to fill in: it knows the source.

    IPv4's (RFC 1071) is summed up from the fields: whatever has an even length counts as what it
    is modulo 65535, and zeroes do not count."""
    sequence = slot & 0xFFFF
    if family == socket.AF_INET6:
        packet = _PROBE.pack(128, 0, 0, ident, sequence, REQUEST, number, slot, cookie)
    else:
        rest = (_SUMMED + ident + sequence + number + slot + cookie) % 0xFFFF
        sum_ = 0xFFFF - rest if rest else 0
        packet = _PROBE.pack(8, 0, sum_, ident, sequence, REQUEST, number, slot, cookie)
    return packet.ljust(ECHO_BYTES + size, b"\0") if size > TOKEN_BYTES else packet


def read_echo(packet: bytes, offset: int, kind: int, ident: int) -> tuple[int, int, int] | None:
    """A token's fields in an echo of this ICMP type and identifier (-1: the kernel has chosen it
    and looked at it); None for anything else."""
    if len(packet) < offset + _PROBE.size:
        return None
    found, _, _, its, _, mark, number, slot, cookie = _PROBE.unpack_from(packet, offset)
    if found != kind or mark != REQUEST or (its != ident and ident >= 0):
        return None
    return number, slot, cookie


def ip_header_bytes(packet: bytes) -> int:
    """How long the IPv4 header is that a raw socket hands over; 0 where that is not one."""
    return (packet[0] & 15) * 4 if len(packet) >= 20 and packet[0] >> 4 == 4 else 0


def read_error(family: int, packet: bytes, offset: int = 0) -> Quote | None:
    """An ICMP error message that quotes an echo request; None for anything else."""
    if len(packet) < offset + ECHO_BYTES:
        return None
    kind, code = packet[offset], packet[offset + 1]
    reason = reason_of(family, kind, code)
    inner = offset + ECHO_BYTES
    if reason is None or len(packet) <= inner:
        return None
    if family == socket.AF_INET:
        length = (packet[inner] & 15) * 4
        if packet[inner] >> 4 != 4 or length < 20 or len(packet) < inner + length + ECHO_BYTES:
            return None
        if packet[inner + 9] != socket.IPPROTO_ICMP:
            return None
        destination = socket.inet_ntop(socket.AF_INET, packet[inner + 16 : inner + 20])
    else:
        length = 40
        if packet[inner] >> 4 != 6 or len(packet) < inner + length + ECHO_BYTES:
            return None
        if packet[inner + 6] != socket.IPPROTO_ICMPV6:
            return None
        destination = socket.inet_ntop(socket.AF_INET6, packet[inner + 24 : inner + 40])
    echo = inner + length
    quoted, _, _, ident, sequence = _ECHO.unpack_from(packet, echo)
    if quoted != ECHO_REQUEST[socket.AddressFamily(family)]:
        return None
    return Quote(reason, destination, ident, sequence, read_token(packet, echo + ECHO_BYTES))


def reason_of(family: int, kind: int, code: int) -> str | None:
    """Why a router or host did not deliver (RFC 792, 1122, 1812; RFC 4443). None: no such
    message."""
    if family == socket.AF_INET:
        if kind == 11:
            return "ttl"
        if kind == 12:
            return "unreachable"
        if kind != 3:
            return None
        return {3: "refused", 4: "mtu", 9: "prohibited", 10: "prohibited", 13: "prohibited"}.get(
            code, "unreachable"
        )
    if kind == 1:
        return {1: "prohibited", 4: "refused", 5: "prohibited", 6: "prohibited"}.get(
            code, "unreachable"
        )
    return {2: "mtu", 3: "ttl", 4: "unreachable"}.get(kind)
