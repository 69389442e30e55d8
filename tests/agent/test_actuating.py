"""A whole agent with an actuator: what it moved is back however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.actuator.trees import wait_for_end, workers_of
from tests.agent.running import running

pytestmark = pytest.mark.bpf


@pytest.fixture
def mark() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def service(mark: str) -> Iterator[int]:
    code = "print('up', flush=True); import sys; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process.pid
        process.communicate()


def config(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(
        f"ebpf: {{programs: []}}\nusage:\n  state_dir: {folder}/state\n  interval: 1s\n{text}"
    )
    return path


def cgroups(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_is_back_where_it_was_however_the_agent_ends(
    mark: str, service: int, tmp_path: Path, number: signal.Signals
) -> None:
    before = cgroups(service)
    jobs = f"  jobs_in_cgroups: true\n  jobs: [{{name: {mark}, command: {mark}}}]\n"
    with running("--config", config(tmp_path, jobs)) as agent:
        agent.wait_for(lambda one: f"moved into /kernmesh/{mark}" in one.log)
        assert f":cpu:/kernmesh/{mark}\n" in cgroups(service)
        keepers = workers_of(agent.process.pid)
        os.kill(agent.process.pid, number)
        agent.process.wait()
    assert len(keepers) == 1
    assert wait_for_end(keepers[0])
    assert cgroups(service) == before


def test_an_agent_that_would_ask_nothing_has_no_actuator(tmp_path: Path) -> None:
    with running("--config", config(tmp_path, "")) as agent:
        assert agent.get("/-/healthy")
        assert workers_of(agent.process.pid) == []


def test_an_actuator_that_cannot_be_started_is_a_line_and_costs_nothing_else(
    tmp_path: Path,
) -> None:
    bad = "  jobs_in_cgroups: true\n  jobs: [{name: a/b, command: x}]\n"
    with running("--config", config(tmp_path, bad)) as agent:
        assert "nothing is acted on" in agent.get("/")
        assert agent.samples(["kernmesh_job_processes"])
