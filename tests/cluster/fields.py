"""Who owns which field: managedFields and what server-side apply makes of them. Pure.

Semantics are those of https://kubernetes.io/docs/reference/using-api/server-side-apply/ (below:
SSA); FieldsV1's form is that of .../kubernetes-api/common-definitions/object-meta.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]
"""Steps as FieldsV1 writes them: "f:<name>", 'k:{"type":"Ready"}' (an item by its key), 'v:"x"'
(an item of a set)."""

# SSA, "Merge strategy": listType is atomic unless the schema says otherwise. These are what it
# says of the kinds here (x-kubernetes-list-map-keys, x-kubernetes-list-type); node.spec.taints is
# not among them.
_KEYED: Mapping[Path, str] = {
    ("f:status", "f:conditions"): "type",
    ("f:status", "f:addresses"): "type",
    ("f:spec", "f:containers"): "name",
    ("f:spec", "f:initContainers"): "name",
    ("f:metadata", "f:ownerReferences"): "uid",
}
_SETS: frozenset[Path] = frozenset({("f:metadata", "f:finalizers")})
# SSA, "Field management": these are nobody's.
_UNMANAGED = {
    ("f:apiVersion",),
    ("f:kind",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
            "selfLink",
        )
    ),
}


@dataclass
class Owner:
    """An entry of managedFields. SSA: a manager is told apart by name, operation, version and
    subresource."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    paths: set[Path] = field(default_factory=set)
    time: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return self.manager, self.operation, self.api_version, self.subresource


class Conflict(Exception):
    """`causes`: (field, text) each."""

    def __init__(self, causes: list[tuple[str, str]]) -> None:
        self.causes = causes
        super().__init__(f"Apply failed with {len(causes)} conflict(s)")


def leaves(value: Object) -> dict[Path, Any]:
    """All managed fields with their values; an item of a keyed list is one too (value None)."""
    return dict(_leaves(value, ()))


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if path in _UNMANAGED:
        return
    if isinstance(value, dict) and (value or not path):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, f"f:{name}"))
    elif isinstance(value, list) and path in _KEYED:
        key = _KEYED[path]
        for item in value:
            step = "k:" + json.dumps({key: item[key]}, separators=(",", ":"))
            yield (*path, step), None
            for name, inner in item.items():
                yield from _leaves(inner, (*path, step, f"f:{name}"))
    elif isinstance(value, list) and path in _SETS:
        for item in value:
            yield (*path, "v:" + json.dumps(item)), item
    else:
        yield path, value


def applied(
    live: Object, body: Object, owner: Owner, others: list[Owner], force: bool
) -> tuple[Object, list[Owner]]:
    """What an Apply by `owner` (with the paths of its last one) makes. Raises Conflict."""
    wanted, present = leaves(body), leaves(live)
    causes = []
    for other in others:
        # SSA, "Conflicts": a value that is already what is asked for is shared, not disputed.
        disputed = {p for p in other.paths & wanted.keys() if present.get(p) != wanted[p]}
        for path in sorted(disputed):
            text = f'conflict with "{other.manager}"'
            if other.subresource:
                text += f' with subresource "{other.subresource}"'
            text += f" using {other.api_version}"
            causes.append((dotted(path), text))
            if force:  # SSA: "Overwrite value, become sole manager"
                other.paths.discard(path)
    if causes and not force:
        raise Conflict(causes)
    result = copy.deepcopy(live)
    # SSA: a field that the manager applied before and leaves out now is removed, unless others
    # own it too.
    elsewhere: set[Path] = set().union(*(other.paths for other in others))
    gone = owner.paths - wanted.keys() - elsewhere
    held = {path[:depth] for path in elsewhere for depth in range(1, len(path))}
    items = {path for path in gone if path[-1][0] == "k" and path not in held}
    for path in items:
        remove(result, path)
    for path in sorted(gone - items, key=len, reverse=True):
        # An item that stays for others' sake keeps the key that it is known by.
        if path[-1][0] != "k" and path[-1][2:] != _KEYED.get(path[:-2]):
            remove(result, path)
    for path, value in wanted.items():
        put(result, path, copy.deepcopy(value))
    owner.paths = set(wanted)
    return result, [each for each in (*others, owner) if each.paths]


def updated(old: Object, new: Object, owner: Owner, others: list[Owner]) -> list[Owner]:
    """Owners after a write that is no Apply. SSA: whoever changes a value owns it, without asking;
    what is removed is nobody's."""
    before, after = leaves(old), leaves(new)
    changed = {p for p, value in after.items() if p not in before or before[p] != value}
    gone = before.keys() - after.keys()
    for other in others:
        other.paths -= changed | gone
    owner.paths = (owner.paths | changed) - gone
    return [each for each in (*others, owner) if each.paths]


def put(target: Object, path: Path, value: Any) -> None:
    here: Any = target
    for depth, step in enumerate(path):
        last = depth == len(path) - 1
        if step[0] == "f":
            name = step[2:]
            if last:
                here[name] = value
                return
            following = path[depth + 1][0]
            if not isinstance(here.get(name), dict if following == "f" else list):
                here[name] = {} if following == "f" else []
            here = here[name]
        elif step[0] == "k":
            key = json.loads(step[2:])
            found = next((item for item in here if key.items() <= item.items()), None)
            if found is None:
                found = dict(key)
                here.append(found)
            here = found
        else:
            item = json.loads(step[2:])
            if item not in here:
                here.append(item)
            return


def remove(target: Object, path: Path) -> None:
    """Also what holds it, where nothing else is left in that: Go's omitempty."""
    here: Any = target
    trail: list[tuple[Any, Any]] = []
    for step in path:
        if step[0] == "f":
            name = step[2:]
            if not isinstance(here, dict) or name not in here:
                return
            trail.append((here, name))
            here = here[name]
        else:
            asked = json.loads(step[2:])
            at = next(
                (
                    index
                    for index, item in enumerate(here)
                    if item == asked or (step[0] == "k" and asked.items() <= item.items())
                ),
                None,
            )
            if at is None:
                return
            trail.append((here, at))
            here = here[at]
    for depth, (holder, where) in enumerate(reversed(trail)):
        if depth and holder[where] not in ({}, []):
            break
        del holder[where]


def dotted(path: Path) -> str:
    """As a conflict's cause names a field: .metadata.labels.x, .status.conditions[type="Ready"]."""
    text = ""
    for step in path:
        if step[0] == "f":
            text += f".{step[2:]}"
        elif step[0] == "k":
            inside = ",".join(f"{k}={json.dumps(v)}" for k, v in json.loads(step[2:]).items())
            text += f"[{inside}]"
        else:
            text += f"[={step[2:]}]"
    return text


def owners(found: Object) -> list[Owner]:
    """Of an object's metadata.managedFields."""
    return [
        Owner(
            each["manager"],
            each["operation"],
            each["apiVersion"],
            each.get("subresource", ""),
            set(_read(each["fieldsV1"], ())),
            each["time"],
        )
        for each in found["metadata"].get("managedFields", ())
    ]


def managed_fields(entries: Iterable[Owner]) -> list[Object]:
    rows = []
    for each in entries:
        row: Object = {
            "manager": each.manager,
            "operation": each.operation,
            "apiVersion": each.api_version,
            "time": each.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _written(each.paths),
        }
        if each.subresource:
            row["subresource"] = each.subresource
        rows.append(row)
    return rows


def _written(paths: Iterable[Path]) -> Object:
    tree: Object = {}
    for path in sorted(paths):
        here = tree
        for step in path:
            here = here.setdefault(step, {})
        if path[-1][0] == "k":
            here["."] = {}
    return tree


def _read(tree: Object, path: Path) -> Iterator[Path]:
    for step, inner in tree.items():
        if step == ".":
            yield path
        elif inner:
            yield from _read(inner, (*path, step))
        else:
            yield (*path, step)
