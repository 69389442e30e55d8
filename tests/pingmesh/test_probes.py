"""Probes against servers of our own on loopback: answers, and every way in which they fail."""

import asyncio
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest

from exporter.testing import FakeClock
from pingmesh.connectionlane import attempt
from pingmesh.guard import Guard
from pingmesh.packetlane import Settings
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import Outcome, Probe, probes
from pingmesh.probes import Way, apiserver, ntp
from pingmesh.resolve import Found, NoAddress, Resolver

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Loopback:
    """Every name is this machine, but one."""

    async def find(self, name: str, family: int) -> Found:
        if name == "nowhere":
            raise NoAddress("nowhere: no such name")
        return Found(("127.0.0.1",) if family == socket.AF_INET else (), 60.0)


def probe_of(group: str) -> Probe:
    [probe] = probes(targets(read_pinglist(f"mesh: {{a: {{{group}}}}}".encode())))
    return probe


async def probed(group: str, timeout: float = 5.0, guard: Guard | None = None) -> Outcome:
    resolver = Resolver(FakeClock(), Loopback(), socket.AF_INET)
    settings = Settings(10.0, timeout, 1000.0)
    return await attempt(probe_of(group), settings, guard or Guard(), resolver)


@asynccontextmanager
async def server(handle: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Its port."""
    made = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield made.sockets[0].getsockname()[1]
    finally:
        made.close()


def saying(answer: bytes, close: bool = True) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if close:
            writer.close()
        else:
            await reader.read()

    return handle


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# TCP


def test_a_tcp_probe_has_the_kernel_s_round_trip_and_retransmits() -> None:
    async def main() -> None:
        ports: asyncio.Queue[int] = asyncio.Queue()

        async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ports.put_nowait(writer.get_extra_info("peername")[1])
            writer.close()

        async with server(handle) as port:
            outcomes = [await probed(f"ips: ['127.0.0.1:{port}']") for _ in range(3)]
            seen = {await ports.get() for _ in range(3)}
        assert all(outcome.rtt is not None and 0 < outcome.rtt < 1 for outcome in outcomes)
        assert [dict(o.numbers) for o in outcomes] == [{"tcp_retransmits": 0}] * 3
        assert len(seen) == 3  # each has a path of its own

    asyncio.run(main())


def test_a_closed_port_is_refused() -> None:
    assert asyncio.run(probed(f"ips: ['127.0.0.1:{closed_port()}']"))[:2] == (None, "refused")


def test_a_port_that_says_nothing_times_out() -> None:
    async def main() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            full = [socket.socket() for _ in range(4)]
            for sock in full:  # nobody accepts: SYNs are dropped when the queue is full
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            assert (await probed(f"ips: ['127.0.0.1:{port}']", 0.05))[:2] == (None, "timeout")
            for sock in full:
                sock.close()

    asyncio.run(main())


def test_a_name_that_nobody_knows_fails_for_dns() -> None:
    assert asyncio.run(probed("ips: ['nowhere:80']"))[:2] == (None, "dns")


def test_what_the_guard_refuses_is_not_connected_to() -> None:
    guard = Guard((), ("loopback",))
    assert asyncio.run(probed("ips: ['name:80']", guard=guard))[:2] == (None, "denied")


# HTTP


def test_an_http_probe_has_its_phases() -> None:
    async def main() -> Outcome:
        async with server(saying(OK)) as port:
            return await probed(f"ips: ['http://name:{port}/x?y=1']")

    outcome = asyncio.run(main())
    assert outcome.reason == ""
    assert set(outcome.phases) == {"resolve", "connect", "processing", "transfer"}
    assert all(seconds >= 0 for seconds in outcome.phases.values())
    assert outcome.numbers["http_status_code"] == 200


def test_an_http_probe_asks_for_what_the_url_says() -> None:
    async def main() -> bytes:
        asked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set_result(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)
            writer.close()

        async with server(handle) as port:
            await probed(f"ips: ['http://name:{port}/x?y=1#z']")
            return (await asked).replace(str(port).encode(), b"PORT")

    lines = asyncio.run(main()).split(b"\r\n")
    assert lines[:2] == [b"GET /x?y=1 HTTP/1.1", b"Host: name:PORT"]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "expect", "reason"),
    [
        (OK, "", ""),
        (CHUNKED, "expect: {body: ^ok$}", ""),
        (b"HTTP/1.1 200 OK\r\n\r\nok until the end", "expect: {body: end}", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, "expect: {body: ok}", ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "", ""),
        (OK, "expect: {status: [204, 301]}", "status"),
        (OK, "expect: {body: not}", "body"),
        (OK, "expect: {tls_expiry: 1d}", "tls_expiry"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
         "", "status"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "", "status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf", "", "reset"),
        (b"", "", "reset"),
        (b"\x00\x01garbage\r\n\r\n", "", "protocol"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "", "protocol"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 << 20), "", "size"),
    ],
)  # fmt: skip
def test_each_answer_has_its_verdict(answer: bytes, expect: str, reason: str) -> None:
    async def main() -> Outcome:
        async with server(saying(answer)) as port:
            return await probed(f"ips: ['http://127.0.0.1:{port}/'], {expect}")

    outcome = asyncio.run(main())
    assert outcome.reason == reason
    assert (outcome.rtt is None) == bool(reason)


def test_a_server_that_does_not_answer_costs_the_timeout() -> None:
    async def main() -> Outcome:
        async with server(saying(b"HTTP/1.1 200 OK\r\n", close=False)) as port:
            return await probed(f"ips: ['http://127.0.0.1:{port}/']", 0.1)

    assert asyncio.run(main())[:2] == (None, "timeout")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-keyout", "key.pem", "-out", "cert.pem",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


def serving(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_a_certificate_that_nobody_vouches_for_fails_for_tls(
    certificate: tuple[Path, Path],
) -> None:
    async def main() -> tuple[Outcome, Outcome]:
        async with server(saying(OK), serving(certificate)) as port:
            return (
                await probed(f"ips: ['https://localhost:{port}/']"),
                await probed(f"ips: ['https://localhost:{port}/'], verify: false"),
            )

    refused, taken = asyncio.run(main())
    assert refused[:2] == (None, "tls")
    assert taken.reason == ""
    assert "tls" in taken.phases


def test_a_server_without_tls_fails_for_tls() -> None:
    async def main() -> Outcome:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with server(handle) as port:
            return await probed(f"ips: ['https://localhost:{port}/']")

    assert asyncio.run(main())[:2] == (None, "tls")


# kube-apiserver


@pytest.mark.parametrize("ours", [True, False])
def test_the_pod_s_token_goes_to_the_cluster_s_api_only(
    certificate: tuple[Path, Path], tmp_path: Path, ours: bool
) -> None:
    (tmp_path / "ca.crt").write_bytes(certificate[0].read_bytes())
    (tmp_path / "token").write_text("secret\n")

    async def main() -> tuple[Outcome, bytes]:
        heads = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)
            writer.close()

        async with server(handle, serving(certificate)) as port:
            probe = probe_of(f"probe: kube-apiserver, ips: ['localhost:{port}'], verify: false")
            way = Way("127.0.0.1", "", asyncio.get_running_loop().time() + 5)
            api = "127.0.0.1" if ours else "10.96.0.1"
            return await apiserver.ask(probe, way, tmp_path, api), heads[0]

    outcome, head = asyncio.run(main())
    assert outcome.reason == ""
    assert head.startswith(b"GET /readyz HTTP/1.1\r\n")
    assert (b"Authorization: Bearer secret\r\n" in head) is ours


# DNS


def dns_answer(data: bytes, *, records: tuple[str, ...] = ("10.0.0.1",), rcode: int = 0) -> bytes:
    query = dns.message.from_wire(data)
    answer: Any = dns.message.make_response(query)
    answer.set_rcode(rcode)
    if records:
        answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", *records))
    wire: bytes = answer.to_wire()
    return wire


@asynccontextmanager
async def datagrams(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[int]:
    """A UDP server's port."""

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            reply = answer(data)
            if reply is not None:
                self.transport.sendto(reply, addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


QUERY = "query: {name: example.org}"


def verdict(answer: Callable[[bytes], bytes | None], group: str, reason: str) -> None:
    """Of a probe of this group at a server that answers so."""

    async def main() -> Outcome:
        async with datagrams(answer) as port:
            whole = f"port: {port}, ips: [127.0.0.1], {group}"
            return await probed(whole, 0.3 if reason == "timeout" else 5.0)

    outcome = asyncio.run(main())
    assert outcome.reason == reason
    assert (outcome.rtt is None) == bool(reason)


@pytest.mark.parametrize(
    ("answer", "expect", "reason"),
    [
        (dns_answer, "", ""),
        (dns_answer, "expect: {answer: '^10[.]'}", ""),
        (dns_answer, "expect: {answer: '^192[.]'}", "answer"),
        (lambda data: dns_answer(data, records=()), "", "answer"),
        (lambda data: dns_answer(data, records=(), rcode=3), "", "rcode"),
        (lambda data: b"\0\1\2", "", "protocol"),
        (lambda data: b"\xff\xff" + dns_answer(data)[2:], "", "timeout"),
        (lambda data: None, "", "timeout"),
    ],
)
def test_each_dns_answer_has_its_verdict(
    answer: Callable[[bytes], bytes | None], expect: str, reason: str
) -> None:
    verdict(answer, f"probe: dns, {QUERY}, {expect}", reason)


def test_dns_is_asked_over_tcp_where_the_group_says_so() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        wire = dns_answer(await reader.readexactly(length))
        writer.write(len(wire).to_bytes(2, "big") + wire)
        writer.close()

    async def main() -> Outcome:
        async with server(handle) as port:
            query = "query: {name: example.org, transport: tcp}"
            return await probed(f"probe: dns, port: {port}, ips: [127.0.0.1], {query}")

    assert asyncio.run(main()).reason == ""


# NTP


def ntp_answer(data: bytes, *, flags: int = 0x24, stratum: int = 2, ahead: float = 0.0) -> bytes:
    now = time.time() + ahead + 2_208_988_800
    stamp = struct.pack(">II", int(now) & 0xFFFFFFFF, int(now % 1 * (1 << 32)))
    return bytes([flags, stratum]) + data[2:24] + data[40:48] + stamp + stamp


@pytest.mark.parametrize(
    ("answer", "expect", "reason"),
    [
        (ntp_answer, "", ""),
        (ntp_answer, "expect: {offset: 10s}", ""),
        (lambda data: ntp_answer(data, ahead=60), "expect: {offset: 10s}", "offset"),
        (lambda data: ntp_answer(data, stratum=16), "", "unsynchronised"),
        (lambda data: ntp_answer(data, flags=0xE4), "", "unsynchronised"),
        (lambda data: ntp_answer(data, flags=0x23), "", "protocol"),
        (lambda data: ntp_answer(data)[:24] + b"guessed!" + ntp_answer(data)[32:], "", "timeout"),
        (lambda data: b"short", "", "timeout"),
    ],
)
def test_each_ntp_answer_has_its_verdict(
    answer: Callable[[bytes], bytes | None], expect: str, reason: str
) -> None:
    verdict(answer, f"probe: ntp, {expect}", reason)


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -86400.0])
@pytest.mark.parametrize("now", [1_795_000_000.0, 2_085_978_490.0, 2_500_000_000.0])
def test_the_offset_is_how_far_the_server_is_ahead_in_any_era(now: float, ahead: float) -> None:
    seconds = int(now + ahead + 2_208_988_800)
    stamp = struct.pack(">II", seconds & 0xFFFFFFFF, 0)
    data = b"\x24\x02" + bytes(30) + stamp + stamp
    outcome = ntp.read(data, now, 0.0, None)
    assert outcome.numbers["ntp_offset_seconds"] == pytest.approx(ahead, abs=1e-3)
