"""Agent mode as a user runs it: a process, a kubeconfig, an API server."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.agent.running import running
from tests.agent.test_agent import command
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.faults import Fault
from tests.kernel.workloads import eventually
from tests.pressure.test_annotations import POLICY
from tests.web.serving import WATCHDOG_SECONDS

MEM = "kernmesh.io/pressure-mem"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server("1.20") as running:
        running.put("nodes", {"metadata": {"name": "node-a"}})
        yield running


def config(tmp_path: Path, pressure: str) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(
        "ebpf: {programs: []}\nusage: {interval: 200ms, fast_interval: 200ms, state_dir: null}\n"
        "pressure:\n  enabled: true\n  node: node-a\n  levels: {cpu: null, mem: {high: 0.01, "
        f"low: 0}}}}\n  enter: {{of: 2, at_least: 2}}\n{pressure}"
    )
    return path


def labels(server: ApiServer) -> Mapping[str, str]:
    found = server.object("nodes", "node-a")
    assert found is not None
    return dict(found["metadata"].get("labels", {}))


def test_a_real_agent_labels_its_node_and_takes_the_label_along(
    server: ApiServer, tmp_path: Path
) -> None:
    file = server.kubeconfig(tmp_path)
    with running("--config", config(tmp_path, f"  kubeconfig: {file}\n")) as agent:
        assert agent.url
        assert eventually(lambda: labels(server) == {MEM: "true"}, WATCHDOG_SECONDS)
        level = 'kernmesh_pressure_level{resource="mem"}'
        assert agent.samples(["kernmesh_pressure_level"])[level] == 1
        requests = agent.samples(["kernmesh_pressure_api_request_seconds_count"])
        assert {'{code="200",verb="apply"}', '{code="200",verb="get"}'} == {
            name.removeprefix("kernmesh_pressure_api_request_seconds_count") for name in requests
        }
        assert agent.stop() == 0
    assert labels(server) == {}


def test_a_kubeconfig_that_is_missing_costs_the_labels_only_and_check_says_so(
    tmp_path: Path,
) -> None:
    path = config(tmp_path, f"  kubeconfig: {tmp_path}/none\n")
    said = command("check", "--config", path).stderr
    assert f"pressure.kubeconfig: {tmp_path}/none: cannot be read: No such file" in said
    with running("--config", config(tmp_path, f"  kubeconfig: {tmp_path}/none\n")) as agent:
        assert agent.url
        assert eventually(lambda: "pressure: " in agent.get("/"), WATCHDOG_SECONDS)
        assert f"{tmp_path}/none: cannot be read" in agent.get("/")
        assert "node_mem_usage_active" in agent.samples()
        assert agent.stop() == 0


def test_an_api_that_hangs_keeps_no_agent_from_ending(server: ApiServer, tmp_path: Path) -> None:
    fault = server.fail(Fault("hold"))
    file = server.kubeconfig(tmp_path)
    with running("--config", config(tmp_path, f"  kubeconfig: {file}\n")) as agent:
        assert agent.url
        assert fault.reached.wait(WATCHDOG_SECONDS)
        assert agent.stop() == 0
        fault.release.set()


def test_check_reads_crane_s_policy_and_knows_which_names_nobody_computes(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    path = config(tmp_path, f"  crane_policy: {policy}\n")
    policy.write_text(POLICY.read_text())
    assert command("check", "--config", path).stdout == "ok\n"
    policy.write_text(POLICY.read_text().replace("cpu_usage_max_avg_1h", "cpu_usage_p95_1h"))
    assert command("check", "--config", path).stderr == (
        f"{policy}:8: spec.syncPolicy[1].name: is not computed here, want it under usage.metrics "
        "as well, got cpu_usage_p95_1h\n"
    )
    policy.write_text(POLICY.read_text().replace("period: 3m", "period: 3"))
    lines = command("check", "--config", path).stderr.splitlines()
    assert [line.split(", want")[0] for line in lines] == [
        f"{policy}:{line}: spec.syncPolicy[{index}].period: not a duration, got 3"
        for line, index in ((7, 0), (14, 3))
    ]


def test_an_agent_that_labels_nothing_imports_nothing_of_it() -> None:
    code = (
        "import sys\n"
        "from exporter.app import Agent\n"
        "from exporter.config import load_agent\n"
        "from exporter.role import Options\n"
        "Agent(load_agent(None), Options())\n"
        "print(*(m for m in sys.modules if m.startswith(('exporter.kube', 'exporter.pressure'))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
