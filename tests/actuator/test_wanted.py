from pathlib import Path

import pytest

from exporter.actuator.wanted import start_of
from exporter.config import load_agent
from exporter.errors import KernmeshError


def agent(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", ["", "interference: {dry_run: false}"])
def test_nothing_is_started_where_nothing_would_be_asked(tmp_path: Path, text: str) -> None:
    assert start_of(load_agent(agent(tmp_path, text))) is None


@pytest.mark.parametrize("rules", ["r.yaml", "default"])
def test_it_is_started_for_rules_in_a_dry_run_too(tmp_path: Path, rules: str) -> None:
    text = f"interference: {{rules: {rules}}}"
    assert start_of(load_agent(agent(tmp_path, text))) is not None


def test_it_is_told_roots_jobs_and_commands_and_no_pods_without_the_api(tmp_path: Path) -> None:
    text = """
    usage: {jobs_in_cgroups: true, jobs: [{name: web, command: nginx}]}
    interference: {rules: r.yaml, commands: {slo: [/bin/slo]}}
    """
    start = start_of(load_agent(agent(tmp_path, text)))
    assert start is not None
    assert start.roots == ("kubepods/offline", "kubepods/besteffort")
    assert (start.jobs, start.commands, start.pods) == (("web",), {"slo": ("/bin/slo",)}, False)
    assert start.state_dir == "/var/lib/kernmesh"


@pytest.mark.parametrize(
    "text",
    [
        "usage: {offline: {cgroups: [../online]}}\ninterference: {rules: r.yaml}",
        "usage: {offline: {cgroups: [/]}}\ninterference: {rules: r.yaml}",
        "usage: {jobs_in_cgroups: true, jobs: [{name: a/b, command: x}]}",
        "usage: {jobs_in_cgroups: true, jobs: [{name: .., command: x}]}",
    ],
)
def test_what_can_be_no_cgroup_is_refused_before_anything_is_started(
    text: str, tmp_path: Path
) -> None:
    with pytest.raises(KernmeshError, match=r"usage\.offline\.cgroups, usage\.jobs: "):
        start_of(load_agent(agent(tmp_path, text)))
