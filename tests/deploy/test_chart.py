"""The chart by Helm's own lint and rendering; what it writes is read by our own readers."""

from pathlib import Path
from typing import Any

import helm_python
import pytest

from exporter.config import load_agent
from exporter.labeller.config import load_labeller
from pingmesh.controller_config import load_controller
from tests.deploy.chart import EVERYTHING, made, rendered
from tests.deploy.values import CHART, ROLES, values

READERS = {
    "agent": lambda path: load_agent(path, {"NODE_NAME": "a", "POD_NAME": "a"}),
    "prober": lambda path: load_agent(path, {"POD_NAME": "a"}),
    "controller": load_controller,
    "labeller": load_labeller,
}


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return rendered(EVERYTHING)


def one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    [found] = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def workloads(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Pod specs by role."""
    found = [o for o in objects if o["kind"] in ("DaemonSet", "Deployment")]
    return {o["metadata"]["name"].rpartition("-")[2]: o["spec"]["template"]["spec"] for o in found}


def test_helm_lint_has_nothing_against_it() -> None:
    said = helm_python.lint(str(CHART))
    assert said["errors"] == []
    assert [m["error"] for m in said["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("path", made(), ids=lambda path: path.name)
def test_what_is_made_of_the_chart_is_current(path: Path) -> None:
    assert path.read_text() == made()[path], "make manifests"


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reads_the_configuration_that_the_chart_writes(
    objects: list[dict[str, Any]], role: str, tmp_path: Path
) -> None:
    data = one(objects, "ConfigMap", f"kernmesh-{role}")["data"]
    [(name, text)] = data.items()
    (tmp_path / name).write_text(text)
    READERS[role](tmp_path / name)


@pytest.mark.parametrize("role", ROLES)
def test_no_container_can_write_its_root_or_gain_privileges(
    objects: list[dict[str, Any]], role: str
) -> None:
    pod = workloads(objects)[role]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"]["drop"] == ["ALL"]
    added = ["BPF", "PERFMON", "SYSLOG", "NET_RAW"] if role == "agent" else None
    assert context["capabilities"].get("add") == added
    assert context.get("runAsNonRoot", False) == (role != "agent")
    assert {"startupProbe", "readinessProbe", "livenessProbe", "resources"} <= container.keys()


@pytest.mark.parametrize(
    ("given", "role", "rules"),
    [
        ({}, "agent", []),
        (
            {"agent": {"config": {"usage": {"pods": {"names": "api"}}}}},
            "agent",
            ["pods: get list watch"],
        ),
        (
            {"agent": {"config": {"pressure": {"enabled": True}}}},
            "agent",
            ["nodes/status: patch", "nodes: get"],
        ),
        (EVERYTHING, "controller", ["nodes pods: get list watch"]),
        (
            EVERYTHING,
            "labeller",
            ["endpointslices: list watch", "nodes/status: patch", "nodes: get list watch"],
        ),
        (
            {
                "labeller": {
                    "enabled": True,
                    "config": {"taint": True, "evictions": {"enabled": True}},
                }
            },
            "labeller",
            [
                "endpointslices: list watch",
                "nodes/status: patch",
                "nodes: get list watch patch",
                "pods/eviction: create",
                "pods: get",
            ],
        ),
    ],
)
def test_each_role_may_do_what_its_configuration_needs_and_no_more(
    given: dict[str, Any], role: str, rules: list[str]
) -> None:
    name = f"kernmesh-kernmesh-{role}"
    roles = [o for o in rendered(given) if o["kind"] == "ClusterRole"]
    found = [r for o in roles if o["metadata"]["name"] == name for r in o["rules"]]
    assert sorted(f"{' '.join(r['resources'])}: {' '.join(r['verbs'])}" for r in found) == rules


def test_an_agent_that_asks_no_api_has_no_token() -> None:
    assert workloads(rendered({}))["agent"]["automountServiceAccountToken"] is False
    asking = {"agent": {"config": {"pressure": {"enabled": True}}}}
    assert workloads(rendered(asking))["agent"]["automountServiceAccountToken"] is True


@pytest.mark.parametrize(
    ("enabled", "labels", "policies"),
    [("auto", True, 0), (True, True, 1), (True, False, 0), (False, True, 0)],
)
def test_the_admission_policy_is_there_where_it_can_be_and_agents_label(
    enabled: bool | str, labels: bool, policies: int
) -> None:
    given = {
        "agent": {"config": {"pressure": {"enabled": labels}}},
        "admissionPolicy": {"enabled": enabled},
    }
    kinds = [o["kind"] for o in rendered(given)]
    assert kinds.count("ValidatingAdmissionPolicy") == policies
    assert kinds.count("ValidatingAdmissionPolicyBinding") == policies


@pytest.mark.parametrize(
    "given",
    [
        {"agnet": {}},
        {"agent": {"prot": 9435}},
        {"agent": {"port": 0}},
        {"controller": {"replicas": "two"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"admissionPolicy": {"enabled": "maybe"}},
    ],
    ids=str,
)
def test_a_slip_in_the_values_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(helm_python.HelmError), helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(given)


def test_every_value_is_documented_and_has_its_place_in_the_schema() -> None:
    found = values((CHART / "values.yaml").read_text())
    assert len({each.path for each in found}) == len(found) > 50


def test_dashboards_and_rules_are_those_of_this_tree(objects: list[dict[str, Any]]) -> None:
    root = CHART.parents[2]
    for path in (root / "dashboards").glob("*.json"):
        data = one(objects, "ConfigMap", f"kernmesh-dashboard-{path.stem}")["data"]
        assert data[path.name].strip() == path.read_text().strip()
    names = {o["metadata"]["name"] for o in objects if o["kind"] == "PrometheusRule"}
    assert names == {"kernmesh-alerts", "kernmesh-recording"}
