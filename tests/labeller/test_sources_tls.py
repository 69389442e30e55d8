"""Agents and a Prometheus that want TLS, and to know who asks."""

import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from exporter.config import Duration, HttpUrl
from exporter.config.client import BasicAuth, ClientTls
from exporter.labeller.agent_source import PATIENCE, AgentSource, Place
from exporter.labeller.config import Agents, PromRules
from exporter.labeller.prom_source import PromSource
from tests.labeller.answering import answering, as_json, http, run
from tests.pki import Pair, authority, for_server, signed

VECTOR = {"resultType": "vector", "result": [{"metric": {"instance": "a:1"}, "value": [1, "7"]}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("pki")
    ca = authority(found, "ca")
    authority(found, "other")
    signed(found, "agent", ca, names="DNS:kernmesh-agent")
    signed(found, "labeller", ca, names="DNS:labeller")
    (found / "token").write_text("sesame\n")
    return found


def server(folder: Path) -> ssl.SSLContext:
    """Which wants certificates of the CA."""
    return for_server(Pair(folder / "agent.pem", folder / "agent.key"), folder / "ca.pem")


def tls(folder: Path, **more: str | None) -> ClientTls:
    files = {"ca_file": "ca.pem", "cert_file": "labeller.pem", "key_file": "labeller.key"}
    given: dict[str, Any] = {key: str(folder / name) for key, name in files.items()}
    return ClientTls(**given | {"server_name": "kernmesh-agent"} | more)


def source(folder: Path, **more: Any) -> AgentSource:
    given: dict[str, Any] = {"tls": tls(folder), "bearer_token_file": str(folder / "token")}
    config = Agents(scheme="https", timeout=Duration("10s"), **given | more)
    return AgentSource(config, {"cpu": "cpu_usage_active"})


def statistics(at: str, path: str) -> bytes:
    return as_json({"cpu_usage_active": 42.5} if path == "/statistics" else {"schedule": True})


def test_agents_are_asked_by_certificate_and_token_over_one_connection_each(folder: Path) -> None:
    heads: list[str] = []

    async def test() -> None:
        agents = source(folder)
        async with answering(statistics, server(folder), heads) as port:
            places = {f"node-{i}": Place(f"127.0.0.{i}", port) for i in (1, 2)}
            wanted = {"cpu": 42.5, "schedule": 1.0}
            assert await agents.read(places) == {"node-1": wanted, "node-2": wanted}

    run(test)
    assert [head.count("\r\nAuthorization: Bearer sesame\r\n") for head in heads] == [1] * 4


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"server_name": None}, "its certificate is not to be trusted: IP address mismatch"),
        ({"ca_file": "{folder}/other.pem"}, "(is agents.tls.ca_file of its CA?)"),
        (
            {"cert_file": None, "key_file": None},
            "(does it want a certificate? agents.tls.cert_file)",
        ),
    ],
)
def test_why_an_agent_is_not_understood_is_told(
    folder: Path, more: dict[str, str | None], why: str
) -> None:
    given = {key: text and text.format(folder=folder) for key, text in more.items()}

    async def test() -> None:
        agents = source(folder, tls=tls(folder, **given))
        async with answering(statistics, server(folder)) as port:
            assert await agents.read({"a": Place("127.0.0.1", port)}) == {}
        assert [why in reason for reason in agents.reasons] == [True]

    run(test)


def test_an_agent_without_tls_gets_no_token(folder: Path) -> None:
    heads: list[str] = []

    async def test() -> None:
        agents = source(folder)
        async with answering(lambda at, path: http(b"{}"), heads=heads) as port:
            assert await agents.read({"a": Place("127.0.0.1", port)}) == {}
        assert agents.failing == 1

    run(test)
    assert heads == []


def test_files_are_read_anew_and_a_missing_one_is_no_agent_s_fault(
    folder: Path, tmp_path: Path
) -> None:
    token, ca = tmp_path / "token", tmp_path / "ca.pem"
    heads: list[str] = []

    async def test() -> None:
        agents = source(folder, tls=tls(folder, ca_file=str(ca)), bearer_token_file=str(token))
        async with answering(statistics, server(folder), heads) as port:
            places = {"a": Place("127.0.0.1", port)}
            token.write_text("one")
            for _ in range(PATIENCE + 1):
                assert await agents.read(places) == {}
            assert agents.failing == 0
            [reason] = agents.reasons
            assert reason == f"agents.tls.ca_file: {ca}: No such file or directory"
            ca.write_bytes((folder / "other.pem").read_bytes())
            assert await agents.read(places) == {}
            ca.write_bytes((folder / "ca.pem").read_bytes())
            assert "a" in await agents.read(places)
            token.write_text("two")
            assert "a" in await agents.read(places)

    run(test)
    assert [head.partition("Bearer ")[2][:3] for head in heads] == ["one", "one", "two", "two"]


def test_a_prometheus_is_asked_by_certificate_and_password(folder: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rule.yaml"
    rules.write_text("Rulename: {cpu: {Promsql: x, Threshold: 70}}")
    basic = BasicAuth("kernmesh", str(folder / "token"))
    heads: list[str] = []

    async def test() -> None:
        answer = as_json({"data": VECTOR})
        async with answering(lambda at, path: answer, server(folder), heads) as port:
            url = HttpUrl(f"https://127.0.0.1:{port}")
            good = PromSource(PromRules(url, str(rules), tls=tls(folder), basic_auth=basic))
            assert await good.read({"a": "node-a"}) == {"node-a": {"cpu": 7.0}}
            await good.close()
            for more, why in (
                ({"server_name": None}, "its certificate is not to be trusted: IP address"),
                ({"ca_file": "none"}, "rule cpu: prometheus.tls.ca_file: none: No such file"),
            ):
                bad = PromSource(PromRules(url, str(rules), tls=tls(folder, **more)))
                assert await bad.read({"a": "node-a"}) == {}
                assert [why in each for each in bad.problems] == [True]
                await bad.close()

    run(test)
    wanted = b64encode(b"kernmesh:sesame").decode()
    assert [f"Basic {wanted}" in head for head in heads] == [True]
