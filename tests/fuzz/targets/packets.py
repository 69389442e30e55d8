"""What comes back from what is probed by packets: ICMP, UDP, the kernel's error queue, DNS, NTP,
certificates.

DNS is asked over sockets of loopback, by the probe itself.
"""

import asyncio
import socket
import ssl
import struct
from functools import cache
from random import Random

import dns.flags
import dns.message
import dns.rrset

from exporter.errors import KernmeshError
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import Probe, probes
from pingmesh.probes import Way, ntp
from pingmesh.probes import dns as dns_probe
from pingmesh.probes.certificate import not_after
from pingmesh.probes.packets import (
    Token,
    body,
    echo_request,
    ip_header_bytes,
    read_echo,
    read_error,
    read_token,
)
from pingmesh.probes.udp import UdpWire
from tests.fuzz.ground import folder
from tests.fuzz.loopback import loopback
from tests.fuzz.mutate import spoil_bytes, spoil_words
from tests.fuzz.target import Case, Target
from tests.pki import authority

V4, V6 = socket.AF_INET, socket.AF_INET6
_TOKEN = Token(1, 7, 0x0123456789ABCDEF)
_WALL = 1_763_800_000.0
_SECONDS = 2.0


class _Sink:
    """Takes what a wire makes of a datagram, and believes no impossible reason."""

    def reply(self, number: int, slot: int, cookie: int, source: str, arrived_ns: int) -> None:
        assert max(number, slot) < 1 << 32 and cookie < 1 << 64

    def error(
        self, token: Token | None, sequence: int, destination: str, reason: str, hop: str
    ) -> None:
        assert reason

    def stray(self, kind: str) -> None:
        assert kind


def _icmp(data: bytes) -> None:
    for family in (V4, V6):
        start = ip_header_bytes(data) if family == V4 else 0
        read_error(family, data, start)
        read_echo(data, start, 0 if family == V4 else 129, -1)
    read_token(data, 8)


@cache
def _wires() -> tuple[UdpWire, ...]:
    return UdpWire(V4), UdpWire(V6)


def _udp(data: bytes) -> None:
    """As a datagram, as one of ours in the error queue, and as what the queue says of it."""
    for wire in _wires():
        wire.read(data, "127.0.0.1", 1, _Sink())
        wire.quoted(data)
        if len(data) >= 16:
            wire._error(data[16:], "192.0.2.1", data[:16] + data[16:48], _Sink())


def _errors() -> list[bytes]:
    quoted = echo_request(V4, 1, *_TOKEN)
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(quoted), 0, 0, 64, 1, 0, b"\x7f\0\0\1", b"\xc0\0\2\1"
    )
    v4 = struct.pack(">BBHI", 11, 0, 0, 0) + header + quoted
    inner = echo_request(V6, 1, *_TOKEN)
    header6 = struct.pack(">IHBB16s16s", 6 << 28, len(inner), 58, 64, b"\0" * 16, b"\0" * 16)
    v6 = struct.pack(">BBHI", 1, 4, 0, 0) + header6 + inner
    return [v4, v6, header + b"\0" + quoted[1:], header + v4, b"\0" + quoted[1:]]


def _replies() -> list[bytes]:
    queue = struct.pack("@IBBBBII", 111, 2, 3, 3, 0, 0, 0)
    return [body(*_TOKEN, mark=b"kmP!"), body(*_TOKEN), queue + body(*_TOKEN)]


# DNS


@cache
def _dns_probe(transport: str) -> Probe:
    group = "query: {name: example.org, type: A, transport: %s}, expect: {answer: '1$'}"
    port = loopback().udp_port if transport == "udp" else loopback().tcp_port
    text = f"mesh: {{a: {{ips: ['127.0.0.1:{port}'], probe: dns, {group % transport}}}}}"
    [probe] = probes(targets(read_pinglist(text.encode())))
    return probe


def _answered(answer: bytes, question: bytes) -> list[bytes]:
    """With the question's number, as who is asked would have it; and what ends the wait."""
    good = dns.message.make_response(dns.message.from_wire(question)).to_wire()
    return [question[:2] + answer[2:], good]


def _dns(data: bytes) -> None:
    ground = loopback()
    ground.mend = _answered

    async def ask() -> object:
        deadline = asyncio.get_running_loop().time() + _SECONDS
        return await dns_probe.run(_dns_probe("udp"), Way("127.0.0.1", "", deadline))

    ground.play(ask, data)


def _dns_over_tcp(data: bytes) -> None:
    async def ask() -> object:
        deadline = asyncio.get_running_loop().time() + _SECONDS
        return await dns_probe.run(_dns_probe("tcp"), Way("127.0.0.1", "", deadline))

    loopback().play(ask, len(data).to_bytes(2, "big") + data if len(data) < 65536 else data)


def _answers() -> list[bytes]:
    found = []
    for kind, text in (
        ("A", "192.0.2.1"),
        ("AAAA", "2001:db8::1"),
        ("CNAME", "a.example.org."),
        ("MX", "10 m.example.org."),
        ("SOA", "a. b. 1 2 3 4 5"),
        ("SRV", "1 2 3 s.example.org."),
        ("TXT", '"v=spf1" "x"'),
    ):
        answer = dns.message.make_response(dns.message.make_query("example.org", "A"))
        answer.answer.append(dns.rrset.from_text("example.org.", 60, "IN", kind, text))
        answer.answer.append(dns.rrset.from_text("example.org.", 60, "IN", "A", "192.0.2.1"))
        answer.use_edns(0)
        found.append(answer.to_wire())
    return found


def spoil_dns(data: bytes, chance: Random) -> bytes:
    """Behind the header and the question mostly: else it is no answer to ours."""
    kept = 12 + 17 if chance.randrange(4) else 2
    spoil = spoil_words if chance.random() < 0.5 else spoil_bytes
    return data[:kept] + spoil(data[kept:], chance)


def _ntp(data: bytes) -> None:
    outcome = ntp.read(data.ljust(48, b"\0"), _WALL, 0.001, 0.5)
    assert (outcome.rtt is None) == bool(outcome.reason)


def _ntp_answers() -> list[bytes]:
    stamp = struct.pack(">II", int(_WALL) + 2_208_988_800, 1 << 31)
    return [b"\x24\x02\x06\xec" + bytes(12) + stamp + b"cookie!!" + stamp + stamp]


def _certificates() -> list[bytes]:
    pair = authority(folder(), "ca")
    return [ssl.PEM_cert_to_DER_cert(pair.cert.read_text())]


TARGET = Target(
    "packets",
    "replies to probes: ICMP, UDP, error queue, DNS over UDP and TCP, NTP, DER of certificates",
    (
        Case("icmp", _icmp, _errors, spoil_words, tested="tests/pingmesh/test_packets.py"),
        Case("udp", _udp, _replies, spoil_words),
        Case("dns", _dns, _answers, spoil_dns, (OSError, KernmeshError)),
        Case("dns-tcp", _dns_over_tcp, _answers, spoil_dns, (OSError, KernmeshError)),
        Case("ntp", _ntp, _ntp_answers, spoil_words),
        Case(
            "certificate",
            not_after,
            _certificates,
            spoil_words,
            tested="tests/pingmesh/test_certificate.py",
        ),
    ),
    2048,
)
