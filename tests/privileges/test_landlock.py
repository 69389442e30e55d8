"""Which rights are asked for by which ABI, and which folders stand for which files."""

from pathlib import Path

import pytest

from exporter.hostfs import HostFs
from exporter.privileges import landlock, places
from exporter.privileges.landlock import BIND_TCP, SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL, handled


@pytest.mark.parametrize(
    ("abi", "files", "net", "scoped", "size"),
    [
        (1, (1 << 13) - 1, 0, 0, 8),
        (2, (1 << 14) - 1, 0, 0, 8),
        (3, (1 << 15) - 1, 0, 0, 8),
        (4, (1 << 15) - 1, BIND_TCP, 0, 16),
        (5, (1 << 16) - 1, BIND_TCP, 0, 16),
        (6, (1 << 16) - 1, BIND_TCP, SCOPE_SIGNAL | SCOPE_ABSTRACT_UNIX, 24),
        (7, (1 << 16) - 1, BIND_TCP, SCOPE_SIGNAL | SCOPE_ABSTRACT_UNIX, 24),
        (99, (1 << 16) - 1, BIND_TCP, SCOPE_SIGNAL | SCOPE_ABSTRACT_UNIX, 24),
    ],
)
def test_a_kernel_is_asked_for_what_its_abi_knows(
    abi: int, files: int, net: int, scoped: int, size: int
) -> None:
    found = handled(abi, abstract_sockets=False)
    assert found == (files, net, scoped)
    assert len(found.packed(abi)) == size


def test_a_manager_that_listens_at_an_abstract_address_is_still_told() -> None:
    assert handled(7, abstract_sockets=True).scoped == SCOPE_SIGNAL


def test_nothing_may_be_run_from_anywhere() -> None:
    assert not (landlock.READ | landlock.WRITE) & landlock.EXECUTE


@pytest.mark.parametrize(
    ("file", "want"),
    [
        ("/etc/kernmesh/agent.yaml", "/etc/kernmesh"),
        ("/etc/kernmesh.yaml", "/etc/kernmesh.yaml"),
        ("/agent.yaml", "/agent.yaml"),
        ("/var/lib/x", "/var/lib/x"),
        ("/var/lib/kernmesh/x", "/var/lib/kernmesh"),
    ],
)
def test_a_file_stands_for_its_folder_unless_that_is_everybody_s(file: str, want: str) -> None:
    assert places.beside(Path(file)) == Path(want)


def test_a_configmap_s_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "agent.yaml").write_text("")
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / "agent.yaml").symlink_to(tmp_path / "data" / "agent.yaml")
    found = list(places.named([tmp_path / "seen" / "agent.yaml"]))
    assert found == [tmp_path / "seen", tmp_path / "data"]


def test_whatever_file_a_configuration_names_is_found_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("")
    config = {
        "tls": {"key_file": str(tmp_path / "key.pem"), "ca_file": str(tmp_path / "away" / "ca")},
        "listen": [":9435"],
        "dirs": (str(tmp_path),),
        "wide": "/etc",
        "url": "http://localhost/x",
        "long": "x" * 5000,
        "odd": "\0",
    }
    assert set(places.named_by(config)) == {tmp_path}


def test_no_folder_that_holds_secrets_is_opened_whole() -> None:
    found = set(places.everywhere(HostFs()))
    for secret in map(Path, ("/etc/shadow", "/etc/ssh/ssh_host_ed25519_key", "/root/.ssh/id")):
        assert found.isdisjoint([secret, *secret.parents]), secret
