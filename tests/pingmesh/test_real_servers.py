"""Probes against the servers that people run: nginx with TLS, dnsmasq, chronyd."""

import asyncio
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pingmesh.probe import Outcome
from tests.pingmesh.servers import chronyd, dnsmasq, nginx
from tests.pingmesh.test_probes import probed
from tests.pki import authority, signed

pytestmark = pytest.mark.bpf  # needs root: nginx and dnsmasq begin as that


# nginx


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, float]]:
    """The port of an nginx, and when its certificate ends."""
    folder = tmp_path_factory.mktemp("nginx")
    pair = signed(folder, "server", authority(folder, "ca"), days=10)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "ca.pem")
    with nginx(folder, pair) as port:
        with (
            socket.create_connection(("127.0.0.1", port)) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as secure,
        ):
            certificate = secure.getpeercert()
        assert certificate is not None
        yield port, ssl.cert_time_to_seconds(str(certificate["notAfter"]))


@pytest.mark.parametrize(
    ("path", "expect", "reason"),
    [
        ("ok", "", ""),
        ("ok", "expect: {status: [200], body: 'is w[a-e]ll'}", ""),
        ("ok", "expect: {body: 'is ill'}", "body"),
        ("missing", "", "status"),
        ("missing", "expect: {status: [404]}", ""),
        ("moved", "", "status"),
        ("moved", "expect: {status: [302]}", ""),
        ("slow", "", "timeout"),
    ],
)
def test_nginx_s_answers_have_their_verdict(
    https: tuple[int, float], path: str, expect: str, reason: str
) -> None:
    group = f"ips: ['https://localhost:{https[0]}/{path}'], verify: false, {expect}"
    outcome = asyncio.run(probed(group, 0.5 if reason == "timeout" else 10.0))
    assert outcome.reason == reason
    assert (outcome.rtt is None) == bool(reason)
    if reason != "timeout":
        phases = {"resolve", "connect", "tls", "processing", "transfer"}
        assert set(outcome.phases) == phases
        assert outcome.rtt is None or outcome.rtt <= sum(outcome.phases.values()) + 0.01


def test_nginx_s_certificate_of_a_private_ca_is_refused(https: tuple[int, float]) -> None:
    outcome = asyncio.run(probed(f"ips: ['https://localhost:{https[0]}/ok']"))
    assert outcome[:2] == (None, "tls")


@pytest.mark.parametrize(("least", "reason"), [("9d", ""), ("11d", "tls_expiry")])
def test_nginx_s_certificate_must_hold_as_long_as_expected(
    https: tuple[int, float], least: str, reason: str
) -> None:
    port, ends = https
    url = f"https://localhost:{port}/ok"
    outcome = asyncio.run(probed(f"ips: ['{url}'], verify: false, expect: {{tls_expiry: {least}}}"))
    assert outcome.reason == reason
    assert outcome.numbers["tls_expiry_timestamp_seconds"] == ends


# dnsmasq


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with dnsmasq(tmp_path_factory.mktemp("dnsmasq")) as (port, _):
        yield port


def dns(port: int, query: str, expect: str = "", timeout: float = 10.0) -> Outcome:
    group = f"probe: dns, port: {port}, ips: [127.0.0.1], query: {{{query}}}, {expect}"
    return asyncio.run(probed(group, timeout))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("query", "expect", "reason"),
    [
        ("name: node.example", "", ""),
        ("name: node.example", "expect: {answer: '^10[.]1[.]2[.]3$'}", ""),
        ("name: node.example", "expect: {answer: '^10[.]9'}", "answer"),
        ("name: node.example, type: AAAA", "expect: {answer: 'fd00::3'}", ""),
        ("name: node.example, type: TXT", "expect: {answer: hello}", ""),
        ("name: node.example, type: MX", "", "answer"),
        ("name: nobody.example", "", "rcode"),
    ],
)
def test_dnsmasq_s_answers_have_their_verdict(
    names: int, transport: str, query: str, expect: str, reason: str
) -> None:
    outcome = dns(names, f"{query}, transport: {transport}", expect)
    assert outcome.reason == reason
    assert (outcome.rtt is None) == bool(reason)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_dnsmasq_that_hangs_costs_a_probe_its_timeout(tmp_path: Path, transport: str) -> None:
    with dnsmasq(tmp_path) as (port, process):
        assert dns(port, f"name: node.example, transport: {transport}").reason == ""
        process.send_signal(signal.SIGSTOP)
        outcome = dns(port, f"name: node.example, transport: {transport}", timeout=0.3)
    assert outcome[:2] == (None, "timeout")


# chronyd


def test_chronyd_s_clock_is_ours(tmp_path: Path) -> None:
    with chronyd(tmp_path) as port:
        group = f"probe: ntp, port: {port}, ips: [127.0.0.1], expect: {{offset: 10ms}}"
        outcomes = [asyncio.run(probed(group)) for _ in range(5)]
    for outcome in outcomes:
        assert outcome.reason == ""
        assert outcome.rtt is not None
        assert outcome.numbers["ntp_stratum"] == 3
        # It is the same clock: what is seen of an offset is at most what the way took.
        assert abs(outcome.numbers["ntp_offset_seconds"]) <= 0.01


def test_a_chronyd_that_knows_no_time_is_unsynchronised(tmp_path: Path) -> None:
    with chronyd(tmp_path, stratum=None) as port:
        outcome = asyncio.run(probed(f"probe: ntp, port: {port}, ips: [127.0.0.1]"))
    assert outcome[:2] == (None, "unsynchronised")
