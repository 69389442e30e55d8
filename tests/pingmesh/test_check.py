"""`kernmesh check` says of section pingmesh, and of the files it names, all that is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pki import authority, signed


def check(config: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "exporter.cli", "check", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        ("{pinglist: {folder}/gone.yaml}", ["{folder}/gone.yaml: cannot be read: No such file"]),
        (
            "{pinglist: {folder}/bad.yaml}",
            [
                "{folder}/bad.yaml:1: mesh.a.prob: unknown key",
                "{folder}/bad.yaml:1: mesh.a.ips[0]: no host name or address",
            ],
        ),
        (
            "\n  controller: https://c\n  allow: [10.0.0.0/8, ten]\n  deny: [private, 1]\n",
            [
                '{config}:4: pingmesh.allow[1]: no network, got "ten"',
                "{config}:5: pingmesh.deny[1]: no network, got 1,",
            ],
        ),
        (
            "\n  controller: https://c\n  tls:\n    ca_file: {folder}/gone.pem\n"
            "  bearer_token_file: {folder}/empty\n",
            [
                "{config}:5: pingmesh.tls.ca_file: {folder}/gone.pem: No such file or directory",
                "{config}:6: pingmesh.bearer_token_file: {folder}/empty: is empty",
            ],
        ),
        (
            "\n  controller: https://c\n  tls:\n    ca_file: {folder}/ca.pem\n"
            "    cert_file: {folder}/client.pem\n    key_file: {folder}/ca.key\n",
            [
                "{config}:6: pingmesh.tls.cert_file: {folder}/client.pem: does not belong to "
                "{folder}/ca.key"
            ],
        ),
        (
            "{controller: 'https://c', tls: {ca_file: {folder}/ca.pem, cert_file: "
            "{folder}/client.pem, key_file: {folder}/client.key}}",
            [],
        ),
    ],
)
def test_everything_wrong_with_pingmesh_is_said_with_its_place(
    tmp_path: Path, section: str, lines: list[str]
) -> None:
    (tmp_path / "bad.yaml").write_text("mesh: {a: {ips: ['a b'], prob: icmp}}\n")
    (tmp_path / "empty").touch()
    signed(tmp_path, "client", authority(tmp_path, "ca"))
    config = tmp_path / "agent.yaml"
    folder = str(tmp_path)
    config.write_text("ebpf: {programs: []}\npingmesh: " + section.replace("{folder}", folder))
    code, said = check(config)
    wanted = [line.replace("{folder}", folder).replace("{config}", str(config)) for line in lines]
    assert code == bool(lines)
    assert len(said) == len(wanted), said
    for line, begin in zip(said, wanted, strict=True):
        assert line.startswith(begin)


def test_everything_wrong_with_a_controller_s_files_is_said(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("nodes: {a: {}}\n")
    (tmp_path / "pinglist.yaml").write_text("mesh: {a: {ips: ['a b']}}\n")
    (tmp_path / "kubeconfig").write_text("clusters: []\n")
    config = tmp_path / "controller.yaml"
    config.write_text(
        f"inventory: {tmp_path}/inventory.yaml\npinglist: {tmp_path}/pinglist.yaml\n"
        f"source:\n  kubernetes:\n    kubeconfig: {tmp_path}/kubeconfig\n"
        f"server: {{web_config: {tmp_path}/web.yml}}\n"
        "mesh: {agent_scheme: https, tls: {ca_file: /gone.pem}}\n"
    )
    (tmp_path / "web.yml").write_text("bearer_token_files: {mesh: gone}\n")
    command = [sys.executable, "-m", "exporter.cli", "check", "--controller", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = done.stderr.splitlines()
    begins = (
        f"{tmp_path}/web.yml:1: bearer_token_files.mesh: {tmp_path}/gone: No such file",
        f"{tmp_path}/inventory.yaml:1: nodes.a.ips: is missing",
        f"{tmp_path}/pinglist.yaml:1: mesh.a.ips[0]: ",
        f"{config}:5: source.kubernetes.kubeconfig: {tmp_path}/kubeconfig: current-context: ",
        f"{config}:7: mesh.tls.ca_file: /gone.pem: No such file or directory",
    )
    assert (done.returncode, len(said)) == (1, 5), said
    assert all(line.startswith(begin) for line, begin in zip(said, begins, strict=True))
