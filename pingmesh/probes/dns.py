"""A DNS server asked for one name, over UDP or TCP; the answer held against an expression.

dnspython makes and reads the messages; sockets and time are asyncio's.
"""

import asyncio
import socket
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from pingmesh.address import family_of
from pingmesh.pinglist import Query
from pingmesh.probe import Outcome, Probe
from pingmesh.probes import Way
from pingmesh.probes.tcp import connect


async def run(probe: Probe, way: Way) -> Outcome:
    """May raise OSError and TimeoutError."""
    query = probe.group.query
    assert query is not None  # the pinglist sees to it
    message = dns.message.make_query(query.name, query.type)
    exchange = _over_tcp if query.transport == "tcp" else _over_udp
    started = asyncio.get_running_loop().time()
    try:
        answer = await exchange(message, probe.port, way)
    except dns.exception.DNSException:
        return Outcome(None, "protocol")
    rtt = asyncio.get_running_loop().time() - started
    numbers = {"dns_rcode": float(answer.rcode()), "dns_answers": float(len(answer.answer))}
    reason = _verdict(answer, query, probe.group.expect.answer)
    return Outcome(None if reason else rtt, reason, numbers=numbers)


def _verdict(answer: dns.message.Message, query: Query, expected: str | None) -> str:
    if answer.rcode() != dns.rcode.NOERROR:
        return "rcode"
    kind = dns.rdatatype.from_text(query.type)
    records = [
        record.to_text() for rrset in answer.answer for record in rrset if rrset.rdtype == kind
    ]
    if not records:
        return "answer"
    if expected is not None:
        import re2

        if not any(re2.search(expected, record) for record in records):
            return "answer"
    return ""


async def _over_udp(message: dns.message.Message, port: int, way: Way) -> dns.message.Message:
    """Connected, so that the kernel drops what comes from elsewhere; a random port and number."""
    loop = asyncio.get_running_loop()
    family = family_of(way.address) or socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        if family_of(way.source) == family:
            sock.bind((way.source, 0))
        async with asyncio.timeout_at(way.deadline):
            await loop.sock_connect(sock, (way.address, port))
            await loop.sock_sendall(sock, message.to_wire())
            while True:
                answer = _read(await loop.sock_recv(sock, 65535), message)
                if answer is not None:
                    return answer


async def _over_tcp(message: dns.message.Message, port: int, way: Way) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    sock, _ = await connect(way, port)
    with sock:
        async with asyncio.timeout_at(way.deadline):
            wire = message.to_wire()
            await loop.sock_sendall(sock, len(wire).to_bytes(2, "big") + wire)
            length = int.from_bytes(await _exactly(sock, 2), "big")
            answer = _read(await _exactly(sock, length), message)
    if answer is None:
        raise dns.exception.FormError
    return answer


async def _exactly(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        piece = await loop.sock_recv(sock, count - len(data))
        if not piece:
            raise ConnectionResetError(104, "connection closed")
        data += piece
    return data


def _read(data: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """None for a message that answers another question; truncated answers count as they are."""
    answer: Any = dns.message.from_wire(data, ignore_trailing=True)
    return answer if query.is_response(answer) else None
