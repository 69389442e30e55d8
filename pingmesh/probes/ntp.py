"""NTP: a client's question (RFC 5905, mode 3), the server's offset and the round trip.

The question's transmit time is random bits, which the answer must give back: it says nothing of
our clock, and nobody off the path can forge an answer.
"""

import asyncio
import os
import socket
import struct
import time

from pingmesh.address import family_of
from pingmesh.probe import Outcome, Probe
from pingmesh.probes import Way

_EPOCH = 2_208_988_800  # 1900 to 1970
_CLIENT = b"\x23"  # no leap warning, version 4, mode 3
_PACKET = struct.Struct(">BBbb11I")
_ERA = 1 << 32


async def run(probe: Probe, way: Way) -> Outcome:
    """May raise OSError and TimeoutError."""
    loop = asyncio.get_running_loop()
    family = family_of(way.address) or socket.AF_INET
    cookie = os.urandom(8)
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        if family_of(way.source) == family:
            sock.bind((way.source, 0))
        async with asyncio.timeout_at(way.deadline):
            await loop.sock_connect(sock, (way.address, probe.port))
            sent_wall, sent = time.time(), time.monotonic()
            await loop.sock_sendall(sock, _CLIENT + bytes(39) + cookie)
            while True:
                data = await loop.sock_recv(sock, 1024)
                elapsed = time.monotonic() - sent
                if len(data) >= _PACKET.size and data[24:32] == cookie:
                    break
    return read(data, sent_wall, elapsed, probe.group.expect.offset)


def read(data: bytes, sent_wall: float, elapsed: float, most: float | None) -> Outcome:
    """An answer that has our cookie. `sent_wall` and `elapsed` in seconds; the offset is how far
    the server is ahead: ((T2 - T1) + (T3 - T4)) / 2, the delay (T4 - T1) - (T3 - T2)."""
    flags, stratum, *_ = _PACKET.unpack_from(data)
    received = _seconds(data, 32, sent_wall)
    transmitted = _seconds(data, 40, sent_wall)
    offset = ((received - sent_wall) + (transmitted - (sent_wall + elapsed))) / 2
    delay = elapsed - (transmitted - received)
    numbers = {"ntp_offset_seconds": offset, "ntp_stratum": float(stratum)}
    if flags & 7 not in (4, 5):
        return Outcome(None, "protocol")
    if flags >> 6 == 3 or not 1 <= stratum <= 15:
        return Outcome(None, "unsynchronised", numbers={"ntp_stratum": float(stratum)})
    if most is not None and abs(offset) > most:
        return Outcome(None, "offset", numbers=numbers)
    return Outcome(max(delay, 0.0), numbers=numbers)


def _seconds(data: bytes, at: int, near: float) -> float:
    """A timestamp in the era that is nearest to `near` (they begin in 1900, 2036, …)."""
    whole = int.from_bytes(data[at : at + 4], "big")
    part = int.from_bytes(data[at + 4 : at + 8], "big")
    seconds = whole - _EPOCH + part / _ERA
    return seconds + round((near - seconds) / _ERA) * _ERA
