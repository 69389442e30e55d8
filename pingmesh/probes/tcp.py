"""TCP connect: the handshake's round trip and retransmits as the kernel counted them.

The round trip is TCP_INFO's tcpi_rtt, which has no scheduling delay of ours in it. Each probe has
a source port of its own, so equal-cost paths are sampled one after the other. The Pingmesh
paper's rule (3 s and 9 s mean one and two drops) is for another kernel's timers; here
tcpi_total_retrans says it. include/uapi/linux/tcp.h.
"""

import asyncio
import socket
import struct

from pingmesh.address import family_of
from pingmesh.probe import Outcome, Probe
from pingmesh.probes import Way

_RTT_OFFSET, _TOTAL_RETRANS_OFFSET = 68, 100
_INFO_BYTES = 104


async def run(probe: Probe, way: Way) -> Outcome:
    """Connects, reads TCP_INFO, closes."""
    sock, took = await connect(way, probe.port)
    with sock:
        rtt, retransmits = handshake(sock)
    return Outcome(rtt or took, numbers={"tcp_retransmits": retransmits})


async def connect(way: Way, port: int) -> tuple[socket.socket, float]:
    """A connected socket, not blocking, and how long that took here. Raises OSError or
    TimeoutError."""
    loop = asyncio.get_running_loop()
    family = family_of(way.address) or socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if family_of(way.source) == family:
            sock.bind((way.source, 0))
        host, _, zone = way.address.partition("%")
        address = (host, port) if not zone else (host, port, 0, socket.if_nametoindex(zone))
        started = loop.time()
        async with asyncio.timeout_at(way.deadline):
            await loop.sock_connect(sock, address)
        return sock, loop.time() - started
    except BaseException:
        sock.close()
        raise


def handshake(sock: socket.socket) -> tuple[float, int]:
    """Round trip in seconds (0: the kernel does not know) and segments that were sent again."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    if len(info) < _INFO_BYTES:
        return 0.0, 0
    (rtt,) = struct.unpack_from("=I", info, _RTT_OFFSET)
    (retransmits,) = struct.unpack_from("=I", info, _TOTAL_RETRANS_OFFSET)
    return rtt * 1e-6, retransmits
