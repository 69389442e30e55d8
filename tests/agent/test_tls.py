"""An agent behind TLS, as Prometheus and curl meet it; files exchanged while it runs."""

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.agent.running import COMMAND, WATCHDOG_SECONDS, Agent, running
from tests.peers import prometheus
from tests.pki import Pair, authority, signed

SCRAPERS = ("mutual", "nobody", "stranger", "wrong")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: ca, server, prometheus (ca's) and stranger (another's)."""
    folder = tmp_path_factory.mktemp("pki")
    ca, other = authority(folder, "ca"), authority(folder, "other")
    signed(folder, "server", ca)
    signed(folder, "prometheus", ca, names="DNS:prometheus")
    signed(folder, "stranger", other, names="DNS:prometheus")
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(
        "ebpf: {programs: []}\nusage: {state_dir: null}\npingmesh: {responder: false}\n"
    )
    return path


def web_file(folder: Path, pki: Path, **more: Any) -> Path:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    tls = {"cert_file": str(pki / "server.pem"), "key_file": str(pki / "server.key")}
    content = {"tls_server_config": tls, "basic_auth_users": {"prometheus": hashed}} | more
    path = folder / "web.yml"
    path.write_text(json.dumps(content))
    return path


def mutual(pki: Path) -> dict[str, Any]:
    return {
        "cert_file": str(pki / "server.pem"),
        "key_file": str(pki / "server.key"),
        "client_ca_file": str(pki / "ca.pem"),
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_allowed_sans": ["prometheus"],
    }


def scraper(name: str, target: str, pki: Path) -> dict[str, Any]:
    """A job of Prometheus' that does one thing wrong, but for `mutual`."""
    who = {"nobody": None, "stranger": "stranger"}.get(name, "prometheus")
    pair = {"cert_file": str(pki / f"{who}.pem"), "key_file": str(pki / f"{who}.key")}
    return {
        "job_name": name,
        "scheme": "https",
        "tls_config": {"ca_file": str(pki / "ca.pem")} | (pair if who else {}),
        "basic_auth": {"username": "prometheus", "password": "no" if name == "wrong" else "secret"},
        "static_configs": [{"targets": [target]}],
    }


def scraping(agent: Agent, pki: Path) -> dict[str, Any]:
    target = agent.url.removeprefix("https://")
    jobs = [scraper(name, target, pki) for name in SCRAPERS]
    return {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}


def test_prometheus_scrapes_with_a_certificate_and_a_password_and_not_without(
    pki: Path, config: Path, tmp_path: Path
) -> None:
    web = web_file(tmp_path, pki, tls_server_config=mutual(pki))
    with (
        running("--config", config, "--web.config.file", web) as agent,
        prometheus(tmp_path, scraping(agent, pki)) as server,
    ):
        assert server.eventually('up{job="mutual"} == 1')
        ended = server.eventually("count(count_over_time(up[1m]) > 1) == 4")
        assert ended  # each has been tried more than once
        up = server.query("up")
        assert {series.labels["job"]: series.value for series in up} == {
            name: float(name == "mutual") for name in SCRAPERS
        }
        for result in ("ok", "no_certificate", "bad_certificate"):
            assert server.eventually(f'kernmesh_tls_handshakes_total{{result="{result}"}} > 0')
        assert server.eventually('kernmesh_http_denied_total{reason="credentials"} > 0')
        assert server.eventually("kernmesh_web_certificate_not_after_timestamp_seconds > time()")


def curl(agent: Agent, *words: str | Path) -> str:
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", "-o", "-", "-w", "%{http_code}", *words],
        capture_output=True,
        text=True,
    )
    return done.stdout[-3:] if done.returncode == 0 else done.stderr


def get(agent: Agent, path: str, ca: Path, token: str) -> str:
    request = urllib.request.Request(agent.url + path, headers={"Authorization": f"Bearer {token}"})
    context = ssl.create_default_context(cafile=ca)
    with urllib.request.urlopen(request, timeout=WATCHDOG_SECONDS, context=context) as answer:
        return str(answer.read(), "utf-8")


def test_everything_is_closed_but_what_is_said_to_be_open(
    pki: Path, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("0123456789abcdef\n")
    web = web_file(tmp_path, pki, bearer_token_files={"agents": "token"}, open_paths=["/-/healthy"])
    words = ("--web.config.file", web, "--web.enable-lifecycle")
    with running("--config", config, *words) as agent:
        ca = ("--cacert", pki / "ca.pem")
        for path in ("/", "/metrics", "/statistics", "/probe?target=a", "/-/ready", "/none"):
            assert curl(agent, *ca, agent.url + path) == "401"
        assert curl(agent, *ca, "-X", "POST", agent.url + "/-/reload") == "401"
        assert curl(agent, *ca, agent.url + "/-/healthy") == "200"
        assert curl(agent, *ca, "-u", "prometheus:secret", agent.url + "/metrics") == "200"
        bearer = "authorization: Bearer 0123456789abcdef"
        assert curl(agent, *ca, "-H", bearer, "-X", "POST", agent.url + "/-/reload") == "200"
        assert "certificate" in curl(agent, agent.url + "/-/healthy")  # a CA it does not know
        assert agent.stop() == 0


def test_files_are_taken_anew_while_it_runs_and_bad_ones_are_not(
    pki: Path, config: Path, tmp_path: Path
) -> None:
    old, new = "0123456789abcdef", "fedcba9876543210"
    token, cert, key = (tmp_path / name for name in ("token", "tls.crt", "tls.key"))
    token.write_text(old)
    cert.write_bytes((pki / "server.pem").read_bytes())
    key.write_bytes((pki / "server.key").read_bytes())
    files = {"cert_file": "tls.crt", "key_file": "tls.key"}
    web = web_file(tmp_path, pki, tls_server_config=files, bearer_token_files={"agents": "token"})
    whole = web.read_text()
    other = tmp_path / "other"
    other.mkdir()
    ca = authority(other, "ca")
    renewed: Pair = signed(other, "renewed", ca)

    with running("--config", config, "--web.config.file", web) as agent:
        assert "https://" in agent.url
        for bad in ("", "tls_server_config: {", '{"basic_auth_users": {"a": "b"}}'):
            before = agent.log.count("web configuration stays as it was")
            web.write_text(bad)
            agent.wait_for(
                lambda a, n=before: a.log.count("web configuration stays as it was") > n  # type: ignore[misc]
            )
        metrics = get(agent, "/metrics", pki / "ca.pem", old)
        assert "kernmesh_web_config_last_reload_successful 0" in metrics
        assert "the web configuration stays as it was" in get(agent, "/", pki / "ca.pem", old)

        web.write_text(whole)
        agent.wait_for(lambda a: a.log.count("web configuration reloaded") == 1)
        token.write_text(new)
        cert.write_bytes(renewed.cert.read_bytes())
        agent.wait_for(lambda a: "does not belong to the certificate" in a.log)
        assert get(agent, "/-/ready", pki / "ca.pem", old)
        key.write_bytes(renewed.key.read_bytes())
        agent.wait_for(lambda a: a.log.count("web configuration reloaded") == 2)
        assert get(agent, "/-/ready", ca.cert, new)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(agent, "/-/ready", ca.cert, old)
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            get(agent, "/-/ready", pki / "ca.pem", new)


def test_an_agent_that_cannot_be_as_safe_as_it_should_does_not_start(
    config: Path, tmp_path: Path
) -> None:
    web = tmp_path / "web.yml"
    web.write_text("tls_server_config:\n  cert_file: none.pem\n  key_file: none.key\n")
    config.write_text(f"{config.read_text()}server: {{web_config: '{web}'}}\n")
    line = f"{web}:2: tls_server_config.cert_file: {tmp_path}/none.pem: No such file or directory"
    with running("--config", config) as agent:
        assert agent.ended() == 1
        assert line in agent.log
    done = subprocess.run(
        [*COMMAND, "check", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=WATCHDOG_SECONDS,
    )
    assert (done.returncode, line in done.stderr) == (1, True)
