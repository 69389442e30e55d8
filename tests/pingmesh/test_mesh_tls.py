"""The controller asks agents and a Prometheus over TLS, and says who it is."""

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from exporter.config import Duration, load_yaml
from exporter.config.client import BasicAuth, ClientTls
from exporter.errors import ConfigError
from exporter.testing import FakeClock
from pingmesh.controller_config import ControllerConfig, MeshConfig
from pingmesh.mesh_prometheus import Prometheus
from pingmesh.mesh_pull import Pulled
from pingmesh.mesh_results import Asked
from tests.pingmesh.test_pull_tls import serving
from tests.pki import Pair, authority, signed

ASKED = Asked({"a": "127.0.0.1"}, {}, "icmp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("pki")
    ca = authority(found, "ca")
    signed(found, "agent", ca, names="DNS:kernmesh-agent")
    signed(found, "controller", ca, names="DNS:controller")
    (found / "token").write_text("one\n")
    (found / "empty").write_text("\n")
    return found


def pair(folder: Path, name: str) -> Pair:
    return Pair(folder / f"{name}.pem", folder / f"{name}.key")


def tls(folder: Path, **more: Any) -> ClientTls:
    given = {
        "ca_file": str(folder / "ca.pem"),
        "cert_file": str(folder / "controller.pem"),
        "key_file": str(folder / "controller.key"),
        "server_name": "kernmesh-agent",
    }
    return ClientTls(**(given | more))


def asked(results: Pulled | Prometheus) -> str | None:
    """What was wrong."""

    async def main() -> None:
        await results.read(ASKED)
        await results.close()

    asyncio.run(main())
    return results.problem


def of_agents(port: int, tls: ClientTls, **more: Any) -> Pulled:
    config = MeshConfig(
        agent_scheme="https", agent_port=port, tls=tls, timeout=Duration("10s"), **more
    )
    return Pulled(config, FakeClock())


def test_agents_are_asked_by_a_name_they_share_with_our_certificate_and_token(folder: Path) -> None:
    with serving(pair(folder, "agent"), client_ca=folder / "ca.pem") as served:
        served.wanted = "Bearer one"
        pulled = of_agents(served.port, tls(folder), bearer_token_file=str(folder / "token"))
        assert asked(pulled) is None
    assert served.clients[0]["subjectAltName"] == (("DNS", "controller"),)


def test_a_prometheus_is_asked_with_a_password(folder: Path) -> None:
    basic = BasicAuth("kernmesh", str(folder / "token"))
    with serving(pair(folder, "agent")) as served:
        served.wanted = f"Basic {b64encode(b'kernmesh:one').decode()}"
        url = load_yaml(f"prometheus: {served.url}".encode(), MeshConfig).prometheus
        assert url is not None
        config = MeshConfig(prometheus=url, tls=tls(folder), basic_auth=basic)
        problem = asked(Prometheus(url, config))
    assert problem is not None
    assert "HTTP 501" in problem  # let in, but it takes no POST


@pytest.mark.parametrize(
    ("more", "token", "problem"),
    [
        ({"server_name": None}, "token", "its certificate is not to be trusted: IP address mism"),
        ({"ca_file": None}, "token", "(is mesh.tls.ca_file of its CA?)"),
        (
            {"cert_file": None, "key_file": None},
            "token",
            "it wants a certificate of ours: mesh.tls.cert_file and key_file",
        ),
        ({}, "none", "mesh.bearer_token_file: {folder}/none: No such file or directory"),
        ({}, "empty", "mesh.bearer_token_file: {folder}/empty: is empty, want a token in it"),
        ({"ca_file": "none"}, "token", "mesh.tls.ca_file: none: No such file or directory"),
    ],
)
def test_what_keeps_agents_from_answering_is_told(
    folder: Path, more: dict[str, Any], token: str, problem: str
) -> None:
    with serving(pair(folder, "agent"), client_ca=folder / "ca.pem") as served:
        pulled = of_agents(served.port, tls(folder, **more), bearer_token_file=str(folder / token))
        found = asked(pulled)
    assert found is not None
    assert problem.format(folder=folder) in found
    assert served.heads == []


@pytest.mark.parametrize(
    ("mesh", "problem"),
    [
        ("tls: {ca_file: a}", "mesh.tls: has no meaning without TLS, want agent_scheme: https"),
        (
            "prometheus: http://a, agent_scheme: https, bearer_token_file: a",
            "mesh.bearer_token_file: has no meaning without TLS, want prometheus: https://…",
        ),
        (
            "agent_scheme: https, bearer_token_file: a, "
            "basic_auth: {username: a, password_file: b}",
            "mesh.basic_auth: is set beside bearer_token_file, want one of the two",
        ),
        (
            "agent_scheme: https, basic_auth: {username: 'a:b', password_file: b}",
            "mesh.basic_auth.username: has a colon",
        ),
    ],
)
def test_secrets_that_would_go_in_the_clear_are_refused(mesh: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem.replace(".", r"\.")):
        load_yaml(f"inventory: a\nmesh: {{{mesh}}}\n".encode(), ControllerConfig)
