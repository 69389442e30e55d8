"""TLS as clients see it, on real sockets: who gets in, who does not, and what the slow cost."""

import asyncio
import json
import socket
import ssl
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exporter.config import load_yaml
from exporter.config.web import TlsServer
from exporter.web.limits import Limits
from exporter.web.tls import BadMaterial, Secure, make_secure, not_after
from tests.pki import Pair, authority, signed
from tests.web.serving import Agent, Client, play, serving, until

GET = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n"
BIG = b"x" * (16 << 20)


class Certificates(NamedTuple):
    folder: Path
    ca: Pair
    other_ca: Pair
    server: Pair
    second: Pair
    client: Pair
    stranger: Pair


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("pki")
    ca, other = authority(folder, "ca"), authority(folder, "other")
    return Certificates(
        folder,
        ca,
        other,
        signed(folder, "server", ca),
        signed(folder, "second", ca),
        signed(folder, "client", ca, names="DNS:prometheus,IP:fd00::1"),
        signed(folder, "stranger", other, names="DNS:prometheus"),
    )


def secure(pki: Certificates, **keys: Any) -> Secure:
    given = {"cert_file": "server.pem", "key_file": "server.key"} | keys
    return make_secure(load_yaml(json.dumps(given).encode(), TlsServer), pki.folder)


def mutual(pki: Certificates, **keys: Any) -> Secure:
    given = {"client_ca_file": "ca.pem", "client_auth_type": "RequireAndVerifyClientCert"}
    return secure(pki, **given | keys)


def trusting(pki: Certificates, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=pki.ca.cert)
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


async def connect(agent: Agent, context: ssl.SSLContext, buffer: int | None = None) -> Client:
    sock = socket.socket()
    if buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", agent.port))
    streams = await asyncio.open_connection(sock=sock, ssl=context, server_hostname="localhost")
    return Client(*streams)


def openssl(agent: Agent, *words: str) -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{agent.port}", *words],
        input="",
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout + done.stderr


def test_a_scrape_over_tls_is_the_scrape_without(pki: Certificates) -> None:
    async def test() -> None:
        here = secure(pki)
        async with serving(body=BIG, secure=lambda: here) as agent:
            client = await connect(agent, trusting(pki))
            for _ in range(2):
                assert (await client.ask("/metrics")).body == BIG
            assert agent.server.connections.handshakes == {"ok": 1}

    play(test)


def test_what_is_sent_right_behind_the_handshake_is_read(pki: Certificates) -> None:
    """By a client that has all of it in one segment."""

    async def test() -> None:
        here = secure(pki)
        async with serving(secure=lambda: here) as agent:
            client = await agent.connect()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = trusting(pki).wrap_bio(incoming, outgoing, server_hostname="localhost")
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    client.send(outgoing.read())
                    incoming.write(await client.reader.read(65536))
            tls.write(GET)
            client.send(outgoing.read())
            answer = b""
            while not answer.endswith(b"x 1\n"):
                incoming.write(await client.reader.read(65536))
                with suppress(ssl.SSLWantReadError):
                    while True:
                        answer += tls.read(65536)
            assert answer.startswith(b"HTTP/1.1 200")

    play(test)


def test_a_new_context_holds_for_who_comes_next_and_ends_who_is_there(pki: Certificates) -> None:
    async def test() -> None:
        now = [secure(pki)]
        async with serving(secure=lambda: now[0]) as agent:
            old = await connect(agent, trusting(pki))
            assert (await old.ask("/metrics")).status == 200
            now[0] = secure(pki, cert_file="second.pem", key_file="second.key")
            agent.server.connections.renew()
            assert await old.closed() == b""
            new = await connect(agent, trusting(pki))
            serial = new.writer.get_extra_info("peercert")["serialNumber"]
            assert serial != old.writer.get_extra_info("peercert")["serialNumber"]
            assert (await new.ask("/metrics")).status == 200

    play(test)


@pytest.mark.parametrize(
    ("keys", "client", "reason"),
    [
        ({}, "client", "ok"),
        ({}, None, "no_certificate"),
        ({}, "stranger", "bad_certificate"),
        ({"client_auth_type": "VerifyClientCertIfGiven"}, None, "ok"),
        ({"client_auth_type": "VerifyClientCertIfGiven"}, "client", "ok"),
        ({"client_auth_type": "VerifyClientCertIfGiven"}, "stranger", "bad_certificate"),
        ({"client_allowed_sans": ["prometheus"]}, "client", "ok"),
        ({"client_allowed_sans": ["FD00:0:0::1"]}, "client", "ok"),
        ({"client_allowed_sans": ["grafana", "prom*"]}, "client", "name"),
        ({"client_allowed_sans": []}, "client", "name"),
    ],
)
def test_a_client_gets_in_by_its_certificate(
    pki: Certificates, keys: Mapping[str, Any], client: str | None, reason: str
) -> None:
    async def test() -> None:
        here = mutual(pki, **keys)
        async with serving(secure=lambda: here) as agent:
            context = trusting(pki, getattr(pki, client) if client else None)
            connected = None
            try:  # TLS 1.3: a client learns only later that it is not let in
                connected = await connect(agent, context)
                got = (await connected.ask("/metrics")).status
            except (OSError, asyncio.IncompleteReadError):
                got = 0
            await until(lambda: sum(agent.server.connections.handshakes.values()) > 0)
            assert agent.server.connections.handshakes == {reason: 1}
            assert (got, bool(agent.renders)) == ((200, True) if reason == "ok" else (0, False))

    play(test)


@pytest.mark.parametrize(
    ("keys", "words", "said"),
    [
        ({}, ["-tls1_3"], "TLSv1.3"),
        ({}, ["-tls1_2"], "TLSv1.2"),
        ({}, ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "protocol version"),
        ({"min_version": "TLS13"}, ["-tls1_2"], "no peer certificate available"),
        ({"max_version": "TLS12"}, ["-tls1_3"], "no peer certificate available"),
        ({"min_version": "TLS10"}, ["-tls1_2"], "TLSv1.2"),
        (
            {"cipher_suites": ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"]},
            ["-tls1_2"],
            "Cipher is ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        (
            {"cipher_suites": ["TLS_AES_128_GCM_SHA256"]},
            ["-tls1_2"],
            "no peer certificate available",
        ),
        ({"curve_preferences": ["CurveP384", "X25519"]}, [], "ECDH, secp384r1, 384 bits"),
        ({"curve_preferences": ["X25519"]}, [], "X25519, 253 bits"),
        ({}, ["-alpn", "h2,http/1.1"], "ALPN protocol: http/1.1"),
    ],
)
def test_versions_suites_and_curves_are_as_the_file_says(
    pki: Certificates, keys: Mapping[str, Any], words: list[str], said: str
) -> None:
    async def test() -> None:
        here = secure(pki, **keys)
        async with serving(secure=lambda: here) as agent:
            shown = await asyncio.to_thread(openssl, agent, *words)
            if said == "protocol version":  # refused by whichever side is asked first
                assert "no peer certificate available" in shown
            else:
                assert said in shown

    play(test)


class TestSlow:
    @pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
    def test_a_handshake_that_does_not_end_is_cut(self, pki: Certificates, sent: bytes) -> None:
        async def test() -> None:
            here = secure(pki)
            limits = Limits(handshake_seconds=0.05)
            async with serving(limits, secure=lambda: here) as agent:
                client = await agent.connect()
                client.send(sent)
                assert await client.closed() == b""
                connections = agent.server.connections
                await until(lambda: connections.open == 0)
                assert (connections.timed_out, connections.handshakes) == (1, {"deadline": 1})

        play(test)

    def test_a_byte_now_and_then_does_not_move_the_deadline(self, pki: Certificates) -> None:
        async def test() -> None:
            here = secure(pki)
            async with serving(Limits(handshake_seconds=0.05), secure=lambda: here) as agent:
                client = await agent.connect()
                client.send(b"\x16\x03\x01\x3f\x00")
                while not agent.server.connections.timed_out:
                    client.send(b"\x01")
                    await asyncio.sleep(0)
                assert await client.closed() == b""

        play(test)

    def test_handshakes_that_hang_take_no_place_from_who_is_served(self, pki: Certificates) -> None:
        async def test() -> None:
            here = secure(pki)
            limits = Limits(connections=6, handshakes=4)
            async with serving(limits, secure=lambda: here) as agent:
                served = await connect(agent, trusting(pki))
                assert (await served.ask("/metrics")).status == 200
                flood = [await agent.connect() for _ in range(20)]
                for client in flood:
                    client.send(b"\x16\x03\x01")
                newcomer = await connect(agent, trusting(pki))
                assert (await newcomer.ask("/metrics")).status == 200
                assert (await served.ask("/metrics")).status == 200
                connections = agent.server.connections
                assert len(connections.knocking) <= 4
                assert connections.open <= 6
                assert connections.evicted >= 16
                assert await flood[0].closed() == b""

        play(test)

    def test_requests_have_their_deadline_behind_tls_too(self, pki: Certificates) -> None:
        async def test() -> None:
            here = secure(pki)
            async with serving(Limits(request_seconds=0.05), secure=lambda: here) as agent:
                client = await connect(agent, trusting(pki))
                client.send(b"GET /metrics HTTP/1.1\r\nhost: a\r\n")
                assert b"200" not in await client.closed()
                assert agent.server.connections.timed_out == 1

        play(test)

    def test_a_head_that_is_too_large_is_refused_behind_tls_too(self, pki: Certificates) -> None:
        async def test() -> None:
            here = secure(pki)
            async with serving(Limits(head_bytes=1000), secure=lambda: here) as agent:
                client = await connect(agent, trusting(pki))
                client.send(b"GET / HTTP/1.1\r\nx: " + b"y" * 2000 + b"\r\n\r\n")
                assert (await client.answer()).status == 431

        play(test)

    def test_a_reader_that_stops_reading_is_cut_and_pins_nothing(self, pki: Certificates) -> None:
        async def test() -> None:
            here = secure(pki)
            limits = Limits(write_seconds=0.05)
            async with serving(limits, body=BIG, secure=lambda: here) as agent:
                sock = socket.create_connection(("127.0.0.1", agent.port))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

                def ask() -> ssl.SSLSocket:
                    tls = trusting(pki).wrap_socket(sock, server_hostname="localhost")
                    tls.sendall(GET)
                    return tls

                client = await asyncio.to_thread(ask)
                await until(lambda: agent.server.connections.timed_out == 1)
                await until(lambda: not agent.server.connections.state.tasks)
                assert agent.server.connections.open == 0
                client.close()

        play(test)

    def test_a_client_gone_in_the_handshake_leaves_nothing(self, pki: Certificates) -> None:
        async def test() -> None:
            here = secure(pki)
            async with serving(secure=lambda: here) as agent:
                client = await agent.connect()
                await until(lambda: agent.server.connections.open == 1)
                client.writer.close()
                await until(lambda: agent.server.connections.open == 0)
                assert agent.server.connections.handshakes == {"closed": 1}

        play(test)

    def test_plain_http_is_told_apart_and_costs_only_itself(self, pki: Certificates) -> None:
        async def test() -> None:
            here = secure(pki)
            async with serving(secure=lambda: here) as agent:
                client = await agent.connect()
                client.send(GET)
                assert b"200" not in await client.closed()
                assert agent.server.connections.handshakes == {"no_tls": 1}
                assert (await (await connect(agent, trusting(pki))).ask("/metrics")).status == 200

        play(test)


@pytest.mark.parametrize(
    ("keys", "key", "problem"),
    [
        ({"cert_file": "none.pem"}, "cert_file", "No such file or directory"),
        ({"cert_file": "server.key"}, "cert_file", "no certificate in PEM in it"),
        ({"key_file": "server.pem"}, "key_file", "no unencrypted key in PEM in it"),
        ({"key_file": "second.key"}, "key_file", "does not belong to the certificate"),
        ({"client_ca_file": "ca.key"}, "client_ca_file", "no certificate in PEM in it"),
    ],
)
def test_material_that_cannot_be_used_names_its_key(
    pki: Certificates, keys: Mapping[str, Any], key: str, problem: str
) -> None:
    with pytest.raises(BadMaterial, match=problem) as caught:
        mutual(pki, **keys)
    assert caught.value.key == key


def test_a_key_with_a_password_asks_nobody_for_it(pki: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    words = ("ec", "-in", str(pki.server.key), "-aes128", "-passout", "pass:secret")
    subprocess.run(["openssl", *words, "-out", str(locked)], check=True, capture_output=True)
    with pytest.raises(BadMaterial, match="no unencrypted key"):
        secure(pki, key_file=str(locked))


def test_certificates_may_stand_in_the_file_itself(pki: Certificates) -> None:
    inline = {"cert": pki.server.cert.read_text(), "key": pki.server.key.read_text()}
    auth = {"client_ca": pki.ca.cert.read_text(), "client_auth_type": "RequireAndVerifyClientCert"}
    made = make_secure(load_yaml(json.dumps(inline | auth).encode(), TlsServer), pki.folder)
    assert made.context.verify_mode == ssl.CERT_REQUIRED


def test_a_certificate_s_end_is_what_openssl_says(pki: Certificates) -> None:
    words = ["openssl", "x509", "-noout", "-enddate", "-in", str(pki.server.cert)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert secure(pki).not_after == ssl.cert_time_to_seconds(said.strip().partition("=")[2])
    assert not_after(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----") is None
