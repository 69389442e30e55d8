"""From what stands on a Node to what should: the requests that this takes, or none. Pure.

Labels, annotations and condition are one server-side apply on the status subresource, which takes
metadata as well (pkg/registry/core/node/strategy.go: only the spec is kept as it is; kubelet
writes its labels so): one write, and one set of fields in 1.20, which does not tell subresources
apart. Taints are a list without merge key (k8s.io/api/core/v1 NodeSpec): whoever applies some
takes away the others', so they are a JSON patch that first tests what it was made for.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from exporter.kube.api import Object
from exporter.pressure.marks import CONDITION, Marks, Wanted, stamp
from exporter.pressure.standing import Field, Standing

EFFECT = "PreferNoSchedule"
_VERSION = "/metadata/resourceVersion"


class Plan(NamedTuple):
    """`taints` are JSON patch operations, which come first: an apply would make another version
    of the Node. `body` is what to apply to the status subresource. Either None where nothing
    changes. `left` are fields of others that were to be ours, and whose they
    are."""

    name: str
    uid: str
    body: Object | None
    taints: Sequence[Mapping[str, Any]] | None
    left: Mapping[Field, str]

    @property
    def empty(self) -> bool:
        return self.body is None and self.taints is None

    def text(self) -> str:
        """The requests, one a line and in turn, for people."""
        lines = []
        if self.taints is not None:
            lines.append(f"patch nodes/{self.name} {json.dumps(self.taints)}")
        if self.body is not None:
            lines.append(f"apply nodes/{self.name}/status {json.dumps(self.body)}")
        return "\n".join(lines)


def plan(standing: Standing, wanted: Wanted, marks: Marks, wall: float) -> Plan:
    """`wall`, seconds since the epoch, is when a condition changes its status."""
    left = {field: by for field in _fields(wanted) if (by := standing.others.get(field))}
    labels = _kept("label", wanted.labels, left)
    annotations = _kept("annotation", wanted.annotations, left)
    condition = None if Field("condition", CONDITION) in left else wanted.condition
    mine = set(_fields(Wanted(labels, annotations, condition)))
    same = (
        mine == standing.ours
        and all(standing.labels.get(key) == value for key, value in labels.items())
        and all(standing.annotations.get(key) == value for key, value in annotations.items())
        and (condition is None or condition == standing.condition)
    )
    body: Object | None = None
    if not same:
        meta: Object = {"name": standing.name, "uid": standing.uid}
        meta |= {"labels": labels} if labels else {}
        meta |= {"annotations": annotations} if annotations else {}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": meta}
        if condition is not None:
            before = standing.condition
            held = before is not None and before.status == condition.status and standing.since
            row = {"type": CONDITION} | condition._asdict()
            row |= {"lastTransitionTime": standing.since if held else stamp(wall)}
            row |= {"lastHeartbeatTime": stamp(wall)}
            body["status"] = {"conditions": [row]}
    taints = _taints(standing, marks.taint_key, wanted.taint)
    return Plan(standing.name, standing.uid, body, taints, left)


def _fields(wanted: Wanted) -> Sequence[Field]:
    fields = [Field("label", key) for key in wanted.labels]
    fields += [Field("annotation", key) for key in wanted.annotations]
    return [*fields, Field("condition", CONDITION)] if wanted.condition else fields


def _kept(kind: str, values: Mapping[str, str], left: Mapping[Field, str]) -> dict[str, str]:
    taken = {field.key for field in left if field.kind == kind}
    return {key: value for key, value in values.items() if key not in taken}


def _taints(standing: Standing, key: str, want: bool) -> Sequence[Mapping[str, Any]] | None:
    """A taint is told apart by key and effect (kubectl taint does so), and the key is ours."""
    present = list(standing.taints or ())
    others = [each for each in present if (each.get("key"), each.get("effect")) != (key, EFFECT)]
    if want == (len(others) < len(present)):
        return None
    wanted = [*others, {"key": key, "effect": EFFECT}] if want else others
    # Where there is no list, there is nothing to test for but the Node's version.
    whole = standing.taints is not None
    path, value = ("/spec/taints", present) if whole else (_VERSION, standing.version)
    change = _operation("add", "/spec/taints", wanted) if wanted else _operation("remove")
    return (
        _operation("test", "/metadata/uid", standing.uid),
        _operation("test", path, value),
        change,
    )


def _operation(op: str, path: str = "/spec/taints", value: Any = None) -> Mapping[str, Any]:
    return {"op": op, "path": path} | ({} if value is None else {"value": value})
