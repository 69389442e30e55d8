"""What should stand on a Node, and the requests that bring it there."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.kube.api import Object
from exporter.pressure.levels import Level
from exporter.pressure.marks import (
    CONDITION,
    NOTHING,
    Condition,
    Marks,
    Wanted,
    stamp,
    stamped,
    wanted,
)
from exporter.pressure.plan import Plan, plan
from exporter.pressure.standing import Field, look
from tests.cluster import fields
from tests.cluster.patches import json_patch
from tests.pressure.nodes import OURS, entry, node, owns

MARKS = Marks(taint=True, legacy_status=True)
CPU, MEM = "kernmesh.io/pressure-cpu", "kernmesh.io/pressure-mem"
BEAT = "kernmesh.io/pressure-heartbeat"
WALL = 1_700_000_000.0
NOW = "2023-11-14T22:13:20Z"
HOT: Mapping[str, Level] = {"cpu": "pressed", "mem": "calm"}
CALM: Mapping[str, Level] = {"cpu": "calm", "mem": "calm"}


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["f:metadata", "f:labels", "f:status", "f:conditions", "type", "key", CPU]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def planned(found: Object, want: Wanted, marks: Marks = MARKS) -> Plan:
    return plan(look(found, OURS, marks, ["cpu_usage_avg_5m"]), want, marks, WALL)


def test_pressure_is_told_by_every_mark_that_is_on() -> None:
    assert wanted(HOT, MARKS, heartbeat=NOW) == Wanted(
        {CPU: "true", "status": "presure"},
        {BEAT: NOW},
        Condition("True", "CpuPressure", "under pressure: cpu"),
        taint=True,
    )


def test_calm_is_told_by_the_condition_alone() -> None:
    assert wanted(CALM, MARKS, heartbeat=NOW) == Wanted(
        condition=Condition("False", "NoPressure", "no pressure: cpu, mem")
    )


@pytest.mark.parametrize(
    ("levels", "status", "reason"),
    [
        ({"cpu": "unknown", "mem": "calm"}, "Unknown", "CpuUnknown"),
        ({"cpu": "unknown", "mem": "pressed"}, "True", "MemPressure"),
        ({"cpu": "pressed", "mem": "pressed"}, "True", "CpuMemPressure"),
        ({"Node_cpu-1": "pressed"}, "True", "NodeCpu1Pressure"),
        ({}, "False", "NoPressure"),
    ],
)
def test_the_condition_follows_the_levels(
    levels: dict[str, Level], status: str, reason: str
) -> None:
    found = wanted(levels, MARKS).condition
    assert found is not None
    assert found[:2] == (status, reason)


def test_control_plane_nodes_get_no_mark_but_may_have_annotations() -> None:
    found = wanted(HOT, MARKS, control_plane=True, heartbeat=NOW, annotations={"a": "1"})
    assert found == Wanted(annotations={"a": "1"})


@pytest.mark.parametrize("role", ["control-plane", "master"])
def test_both_names_of_the_control_plane_are_known(role: str) -> None:
    assert look(node({f"node-role.kubernetes.io/{role}": ""}), OURS, MARKS).control_plane
    assert not look(node({"node-role.kubernetes.io/worker": ""}), OURS, MARKS).control_plane


def test_a_plan_is_one_apply_of_all_that_is_ours_and_a_patch_of_the_taints() -> None:
    found = planned(node(), wanted(HOT, MARKS, heartbeat=NOW))
    assert found.body == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "node-a",
            "uid": "u1",
            "labels": {CPU: "true", "status": "presure"},
            "annotations": {BEAT: NOW},
        },
        "status": {
            "conditions": [
                {
                    "type": CONDITION,
                    "status": "True",
                    "reason": "CpuPressure",
                    "message": "under pressure: cpu",
                    "lastTransitionTime": NOW,
                    "lastHeartbeatTime": NOW,
                }
            ]
        },
    }
    assert found.taints == (
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {
            "op": "add",
            "path": "/spec/taints",
            "value": [{"key": "kernmesh.io/pressure", "effect": "PreferNoSchedule"}],
        },
    )


def written(found: Object, made: Plan) -> Object:
    """The Node once the plan is done, by the test API server's own rules."""
    if made.taints is not None:
        found = json_patch(found, made.taints)
    if made.body is not None:
        entries = fields.owners(found)
        owner = fields.Owner(OURS, "Apply", "v1", "")
        for index, each in enumerate(entries):
            if each.identity == owner.identity:
                owner = entries.pop(index)
                break
        found, kept = fields.applied(found, made.body, owner, entries, False)
        found["metadata"]["managedFields"] = fields.managed_fields(kept)
    return found


LEVELS = st.dictionaries(
    st.sampled_from(["cpu", "mem", "schedule"]), st.sampled_from(["calm", "pressed", "unknown"])
)
THEIRS = st.fixed_dictionaries(
    {},
    optional={
        CPU: st.just("true"),
        "status": st.sampled_from(["presure", "fine"]),
        "zone": st.just("a"),
    },
)
TAINTS = st.none() | st.lists(
    st.sampled_from(
        [
            {"key": "kernmesh.io/pressure", "effect": "NoSchedule"},
            {"key": "a", "value": "b", "effect": "PreferNoSchedule"},
        ]
    ),
    max_size=2,
)


@given(st.lists(LEVELS, max_size=5), THEIRS, TAINTS)
def test_every_plan_brings_what_is_wanted_leaves_others_alone_and_is_the_last(
    turns: list[dict[str, Level]], theirs: dict[str, str], taints: list[Object] | None
) -> None:
    found = node(theirs, managed=[entry("them", owns(list(theirs)), "Update")], taints=taints)
    for levels in turns:
        want = wanted(levels, MARKS, heartbeat=NOW)
        found = written(found, planned(found, want))
        again = planned(found, want)
        assert again.empty, again.text()
        labels = found["metadata"].get("labels", {})
        assert {key: labels.get(key) for key in theirs} == theirs
        assert labels.items() >= {k: v for k, v in want.labels.items() if k not in theirs}.items()
        present = found["spec"].get("taints") or []
        assert [each for each in present if each in (taints or [])] == (taints or [])
        assert len(present) - len(taints or []) == want.taint
    found = written(found, planned(found, NOTHING))
    assert found["metadata"].get("labels", {}) == theirs
    assert (found["spec"].get("taints") or []) == (taints or [])
    assert not found.get("status", {}).get("conditions")


def test_a_label_of_others_is_left_alone_and_reported_even_if_it_says_the_same() -> None:
    managed = [entry("kubectl-label", owns([CPU]), "Update")]
    for value in ("true", "false"):
        found = planned(node({CPU: value}, managed=managed), wanted(HOT, Marks(condition=False)))
        assert found.left == {Field("label", CPU): "kubectl-label"}
        assert found.body is None


def test_what_nobody_is_said_to_own_is_not_ours() -> None:
    found = planned(node({"status": "presure"}), NOTHING)
    assert found.empty
    found = planned(node({"status": "x"}), wanted(HOT, MARKS))
    assert found.left == {Field("label", "status"): "somebody"}
    assert found.body is not None
    assert found.body["metadata"]["labels"] == {CPU: "true"}


def test_what_we_share_with_others_is_ours_as_well() -> None:
    managed = [entry("them", owns([CPU])), entry(OURS, owns([CPU]))]
    assert not planned(node({CPU: "true"}, managed=managed), wanted(HOT, MARKS)).left


def test_an_annotation_of_crane_s_own_annotator_is_left_to_it() -> None:
    managed = [entry("crane", owns(annotations=["cpu_usage_avg_5m"]), "Update")]
    found = node(annotations={"cpu_usage_avg_5m": "0.1,x"}, managed=managed)
    made = planned(found, Wanted(annotations={"cpu_usage_avg_5m": "0.2,y", "mem": "0.3,y"}))
    assert set(map(str, made.left)) == {"annotation cpu_usage_avg_5m"}
    assert made.body is not None
    assert made.body["metadata"]["annotations"] == {"mem": "0.3,y"}


def test_a_condition_that_stays_keeps_since_when() -> None:
    row = {"type": CONDITION, "status": "True", "reason": "CpuPressure", "message": "x"}
    found = node(
        conditions=[row | {"lastTransitionTime": "2020-01-01T00:00:00Z"}],
        managed=[entry(OURS, owns(conditions=[CONDITION]))],
    )
    made = planned(found, wanted({"mem": "pressed"}, Marks(labels=False))).body
    assert made is not None
    assert made["status"]["conditions"][0]["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    made = planned(found, wanted(CALM, MARKS)).body
    assert made is not None
    assert made["status"]["conditions"][0]["lastTransitionTime"] == NOW


def test_what_our_labels_say_is_pressed_and_nobody_else_s() -> None:
    managed = [entry(OURS, owns([CPU])), entry("them", owns([MEM]))]
    found = look(node({CPU: "true", MEM: "true"}, managed=managed), OURS, MARKS)
    assert found.pressed(MARKS) == {"cpu"}


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"metadata": None, "spec": None, "status": None},
        {"metadata": {"labels": [], "annotations": 1, "managedFields": {}}},
        {"metadata": {"managedFields": [{"manager": OURS, "operation": "Apply"}]}},
        {"spec": {"taints": {}}, "status": {"conditions": {"a": 1}}},
        {"metadata": {"managedFields": [entry(OURS, {"f:metadata": {"f:labels": []}})]}},
    ],
)
def test_a_node_that_is_not_as_nodes_are_has_nothing_standing(broken: dict[str, Any]) -> None:
    found = look(broken, OURS, MARKS)
    assert (found.labels, found.condition, found.ours) == ({}, None, frozenset())


def likely(*keys: str) -> st.SearchStrategy[Any]:
    """A map of some of these keys to anything."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, ANYTHING)) | ANYTHING


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "metadata": likely("labels", "annotations", "name", "uid")
            | st.fixed_dictionaries(
                {"managedFields": st.lists(likely("manager", "operation", "fieldsV1"), max_size=2)}
            ),
            "spec": likely("taints"),
            "status": st.fixed_dictionaries(
                {"conditions": st.lists(likely("status") | st.just({"type": CONDITION}))}
            ),
        },
    )
)
def test_whatever_a_node_is_there_is_a_plan_for_it(found: Object) -> None:
    json.dumps(planned(found, wanted(HOT, MARKS, heartbeat=NOW)).body)


def test_of_ten_thousand_labels_only_those_that_matter_are_kept() -> None:
    labels = {f"example.org/l{index}": "x" for index in range(10_000)} | {CPU: "true"}
    found = look(node(labels, managed=[entry("them", owns(list(labels)))]), OURS, MARKS)
    assert found.labels == {CPU: "true"}
    assert found.others == {Field("label", CPU): "them"}


def test_a_plan_s_text_is_its_requests_in_turn() -> None:
    lines = planned(node(), wanted(HOT, MARKS)).text().splitlines()
    assert [line.split(" ")[:2] for line in lines] == [
        ["patch", "nodes/node-a"],
        ["apply", "nodes/node-a/status"],
    ]
    assert json.loads(lines[1].split(" ", 2)[2])["kind"] == "Node"


def test_stamps_are_read_as_they_were_written() -> None:
    assert stamp(WALL) == NOW
    assert stamped(NOW) == WALL
    assert stamped("yesterday") is None
