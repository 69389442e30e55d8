"""The chart by Helm's own lint and rendering; what it writes is read by our own readers."""

import json
from pathlib import Path
from typing import Any

import helm_python
import pytest

from exporter.cli import _parse
from exporter.config import load_agent
from exporter.labeller.config import load_labeller
from pingmesh.controller_config import load_controller
from tests.deploy.chart import EVERYTHING, LABELS, ON, made, rendered
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


POLICY = """
spec:
  syncPolicy: [{name: cpu_usage_avg_5m, period: 3m}, {name: mem_usage_avg_5m, period: 3m}]
"""


@pytest.mark.parametrize(
    ("pressure", "files", "extra", "keys"),
    [
        ({}, {}, [], []),
        ({"keys": {"legacy_status": True}}, {}, [], ["status"]),
        (
            {"crane_policy": "/etc/kernmesh/crane.yaml"},
            {"crane.yaml": POLICY},
            ["own"],
            ["own", "cpu_usage_avg_5m", "mem_usage_avg_5m"],
        ),
        ({"crane_policy": "/elsewhere/crane.yaml"}, {}, ["cpu_usage_avg_5m"], ["cpu_usage_avg_5m"]),
    ],
)
def test_the_admission_policy_allows_the_keys_that_the_configuration_writes(
    pressure: dict[str, Any], files: dict[str, str], extra: list[str], keys: list[str]
) -> None:
    given = {
        "agent": {"config": {"pressure": {"enabled": True, **pressure}}, "files": files},
        "admissionPolicy": {"enabled": True, "extraKeys": extra},
    }
    [policy] = [o for o in rendered(given) if o["kind"] == "ValidatingAdmissionPolicy"]
    variables = {v["name"]: v["expression"] for v in policy["spec"]["variables"]}
    assert json.loads(variables["extra"]) == keys


def test_the_admission_policy_follows_the_prefix_of_keys() -> None:
    pressure = {"enabled": True, "keys": {"prefix": "example.org/"}}
    given = {"agent": {"config": {"pressure": pressure}}, "admissionPolicy": ON}
    [policy] = [o for o in rendered(given) if o["kind"] == "ValidatingAdmissionPolicy"]
    text = json.dumps(policy["spec"]["validations"])
    assert text.count('startsWith(\\"example.org/\\")') == 6
    assert "kernmesh.io/" not in text


@pytest.mark.parametrize(
    ("given", "nodes"),
    [
        ({}, None),
        ({"controller": ON, "prober": ON}, None),
        ({"agent": LABELS}, ["list", "patch"]),
        ({"agent": LABELS, "undoOnDelete": False}, None),
        ({"agent": {"config": {"pressure": {"enabled": True}}}}, ["list"]),
        ({"labeller": ON}, ["list"]),
        ({"labeller": {"enabled": True, "config": {"taint": True}}}, ["list", "patch"]),
    ],
)
def test_what_was_written_on_nodes_is_taken_away_at_the_end_with_no_more_rights_than_that_takes(
    given: dict[str, Any], nodes: list[str] | None
) -> None:
    hooks = rendered(given, hooks=True)
    if nodes is None:
        assert hooks == []
        return
    assert {o["metadata"]["annotations"]["helm.sh/hook"] for o in hooks} == {"post-delete"}
    [role] = [o for o in hooks if o["kind"] == "ClusterRole"]
    assert {tuple(r["resources"]): r["verbs"] for r in role["rules"]} == {
        ("nodes",): nodes,
        ("nodes/status",): ["patch"],
    }
    [job] = [o for o in hooks if o["kind"] == "Job"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert _parse(container["args"]).nodes
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    weights = [int(o["metadata"]["annotations"].get("helm.sh/hook-weight", 0)) for o in hooks]
    assert max(weights) == int(job["metadata"]["annotations"]["helm.sh/hook-weight"]) > min(weights)


def test_taints_of_every_prefix_in_use_are_taken_away() -> None:
    keys = {"keys": {"prefix": "example.org/"}}
    given = {"agent": {"config": {"pressure": {"enabled": True, **keys}}}, "labeller": ON}
    [job] = [o for o in rendered(given, hooks=True) if o["kind"] == "Job"]
    args = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert _parse(args).prefix == ["example.org/", "kernmesh.io/"]


@pytest.mark.parametrize("role", ["agent", "labeller"])
def test_files_stand_beside_the_configuration(role: str) -> None:
    given = {role: {"enabled": True, "files": {"rules.yaml": "a: 1\n"}}}
    assert one(rendered(given), "ConfigMap", f"kernmesh-{role}")["data"]["rules.yaml"] == "a: 1\n"


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
