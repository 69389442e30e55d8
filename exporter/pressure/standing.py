"""What stands on a Node now, and whose it is: the little of a Node object that marking needs. Pure.

The rule: whose a field is, managedFields say; of what they do not account for, it is not ours.
https://kubernetes.io/docs/reference/using-api/server-side-apply/ (below: SSA).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from exporter.kube.api import Object, map_of
from exporter.pressure.marks import CONDITION, CONTROL_PLANE, LEGACY_KEY, Condition, Marks

UNKNOWN_OWNER = "somebody"


class Field(NamedTuple):
    """A field that can be owned: a label or annotation by its key, a condition by its type."""

    kind: Literal["label", "annotation", "condition"]
    key: str

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Standing(NamedTuple):
    """`labels` and `annotations` are those that marking is about. `ours` is all that our manager
    has applied; `others` says who owns what is not ours. `since` is the condition's
    lastTransitionTime. `taints` None: the Node has no such list. `version` is its
    resourceVersion."""

    name: str
    uid: str
    version: str
    control_plane: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    condition: Condition | None
    since: str
    taints: Sequence[Object] | None
    ours: frozenset[Field]
    others: Mapping[Field, str]

    def pressed(self, marks: Marks) -> frozenset[str]:
        """The resources whose labels of ours stand."""
        start = marks.label("")
        return frozenset(
            key.removeprefix(start) for key in self.labels
            if key.startswith(start) and Field("label", key) in self.ours
        )  # fmt: skip


def look(node: Object, manager: str, marks: Marks, names: Collection[str] = ()) -> Standing:
    """`names` are annotations beside the heartbeat that may be written."""
    meta, status = map_of(node.get("metadata")), map_of(node.get("status"))
    present = {"label": map_of(meta.get("labels")), "annotation": map_of(meta.get("annotations"))}
    ours, others = _owners(meta.get("managedFields"), manager)

    def kept(kind: Literal["label", "annotation"]) -> dict[str, str]:
        wanted = {LEGACY_KEY} if kind == "label" else {marks.heartbeat_key, *names}
        start = marks.label("")
        return {
            key: value
            for key, value in present[kind].items()
            if key in wanted or key.startswith(start) or Field(kind, key) in ours
        }

    labels, annotations = kept("label"), kept("annotation")
    condition, since = _condition(status.get("conditions"))
    there = [Field("label", key) for key in labels]
    there += [Field("annotation", key) for key in annotations]
    if condition is not None:
        there.append(Field("condition", CONDITION))
    spec = map_of(node.get("spec"))
    return Standing(
        str(meta.get("name", "")),
        str(meta.get("uid", "")),
        str(meta.get("resourceVersion", "")),
        any(name in present["label"] for name in CONTROL_PLANE),
        labels,
        annotations,
        condition,
        since,
        _maps(spec["taints"]) if isinstance(spec.get("taints"), list) else None,
        frozenset(ours),
        {each: others.get(each, UNKNOWN_OWNER) for each in there if each not in ours},
    )


def _owners(entries: Any, manager: str) -> tuple[set[Field], dict[Field, str]]:
    """What `manager` has applied, and the first owner of what others own. SSA, "Managers": an
    apply and an update by one name are two managers; ours only patches taints."""
    ours: set[Field] = set()
    others: dict[Field, str] = {}
    for entry in _maps(entries):
        by = str(entry.get("manager", UNKNOWN_OWNER))
        own = by == manager and entry.get("operation") == "Apply"
        for found in _fields(entry.get("fieldsV1")):
            if own:
                ours.add(found)
            else:
                others.setdefault(found, by)
    return ours, others


def _fields(fields: Any) -> Iterator[Field]:
    """FieldsV1: "f:<name>" is a field, 'k:{"type":"x"}' the item of a list with that key
    (docs/reference/kubernetes-api/common-definitions/object-meta)."""
    meta = map_of(map_of(fields).get("f:metadata"))
    for key in map_of(meta.get("f:labels")):
        yield Field("label", key.removeprefix("f:"))
    for key in map_of(meta.get("f:annotations")):
        yield Field("annotation", key.removeprefix("f:"))
    conditions = map_of(map_of(map_of(fields).get("f:status")).get("f:conditions"))
    if f'k:{{"type":"{CONDITION}"}}' in conditions:
        yield Field("condition", CONDITION)


def _condition(conditions: Any) -> tuple[Condition | None, str]:
    for each in _maps(conditions):
        if each.get("type") == CONDITION:
            found = Condition(*(each.get(name, "") for name in Condition._fields))
            return found, str(each.get("lastTransitionTime") or "")
    return None, ""


def _maps(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
