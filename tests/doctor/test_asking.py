"""What is asked of others: the API with its refusals, the folder, the clock."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import convert

from exporter.config import AgentConfig
from exporter.doctor.asking import ask, clock, folder
from exporter.doctor.machine import ApiAnswer, StateFolder
from exporter.testing import fake_host
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.faults import Fault
from tests.kube.asking import node


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        running.put("nodes", node("n1"))
        yield running


def answers(tmp_path: Path, environ: dict[str, str], **config: object) -> list[ApiAnswer]:
    whole = convert({"usage": {"state_dir": None}, **config}, AgentConfig)
    return list(ask(whole, fake_host(tmp_path, {}), environ).api)


def pressure(server: ApiServer, folder: Path, **more: object) -> dict[str, object]:
    return {"enabled": True, "node": "n1", "kubeconfig": str(server.kubeconfig(folder)), **more}


def test_each_right_is_asked_for_and_nothing_is_changed(server: ApiServer, tmp_path: Path) -> None:
    before = server.object("nodes", "n1")
    found = answers(
        tmp_path,
        {"KUBECONFIG": str(server.kubeconfig(tmp_path))},
        pressure=pressure(server, tmp_path, taint=True),
        usage={"state_dir": None, "pods": {"names": "api"}},
    )
    assert found == [
        ApiAnswer("pressure: get nodes", ""),
        ApiAnswer("pressure: patch nodes/status", ""),
        ApiAnswer("pressure: patch nodes", ""),
        ApiAnswer("usage.pods.names: list pods", ""),
    ]
    assert server.object("nodes", "n1") == before


def test_what_is_refused_is_named_and_the_rest_is_asked_all_the_same(
    server: ApiServer, tmp_path: Path
) -> None:
    server.fail(Fault("status", 403, "Forbidden", verbs=frozenset({"patch"})))
    read, write = answers(tmp_path, {}, pressure=pressure(server, tmp_path))
    assert read == ApiAnswer("pressure: get nodes", "")
    assert write.asked == "pressure: patch nodes/status"
    assert "HTTP 403 Forbidden" in write.problem


def test_a_dry_run_needs_no_right_to_write(server: ApiServer, tmp_path: Path) -> None:
    found = answers(tmp_path, {}, pressure=pressure(server, tmp_path, dry_run=True))
    assert found == [ApiAnswer("pressure: get nodes", "")]


def test_without_a_way_to_the_api_that_is_the_answer(tmp_path: Path) -> None:
    usage = {"state_dir": None, "pods": {"names": "api"}}
    (only,) = answers(tmp_path, {"HOME": str(tmp_path)}, usage=usage)
    assert only.asked == "usage.pods.names"
    assert only.problem.startswith("no access to the Kubernetes API")


def test_an_api_that_nothing_needs_is_not_asked(tmp_path: Path) -> None:
    assert answers(tmp_path, {}) == []


def test_the_state_folder_is_looked_at_and_not_made(tmp_path: Path) -> None:
    there, above = folder(str(tmp_path)), folder(str(tmp_path / "a/b"))
    assert there is not None
    assert above is not None
    assert (there.exists, there.writable) == (True, True)
    assert (above.exists, above.writable) == (False, True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folders_place_cannot_be_written_to(tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.write_text("")
    found = folder(str(place))
    assert isinstance(found, StateFolder)
    assert not found.writable


def test_the_kernel_tells_of_its_clock() -> None:
    """Unless the system call is filtered."""
    found = clock()
    assert found is not None
    assert found.most_off_seconds > 0
