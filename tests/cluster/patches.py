"""JSON patch, merge patch, and as much of strategic merge patch as nodes and pods need. Pure.

RFC 6902, RFC 7386; https://kubernetes.io/docs/tasks/manage-kubernetes-objects/
update-api-object-kubectl-patch/ (below: SMP).
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

# SMP: patchMergeKey of the lists whose patchStrategy is merge, by their last name. Taints have
# none (k8s.io/api/core/v1 NodeSpec), so they are replaced.
_MERGE_KEYS = {
    "conditions": "type",
    "addresses": "type",
    "containers": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
}


class BadPatch(Exception):
    """It does not fit the object."""


def json_patch(target: Object, operations: Sequence[Mapping[str, Any]]) -> Object:
    """All operations or none (RFC 5789 section 2)."""
    result: Any = copy.deepcopy(target)
    for each in operations:
        result = _operate(result, each)
    if not isinstance(result, dict):
        raise BadPatch("the result is no object")
    return result


def _operate(target: Any, operation: Mapping[str, Any]) -> Any:
    try:
        kind, steps = operation["op"], _pointer(operation["path"])
        if kind == "test":
            if _at(target, steps) != operation["value"]:
                raise BadPatch(f"testing value {operation['path']} failed: test failed")
            return target
        if kind in ("move", "copy"):
            origin = _pointer(operation["from"])
            value = copy.deepcopy(_at(target, origin))
            if kind == "move":
                target = _remove(target, origin)
            return _add(target, steps, value)
        if kind == "remove":
            return _remove(target, steps)
        if kind == "replace":
            return _add(_remove(target, steps), steps, operation["value"])
        if kind == "add":
            return _add(target, steps, operation["value"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadPatch(f"{dict(operation)}: {error}") from error
    raise BadPatch(f"unexpected kind: {kind}")


def _pointer(text: str) -> list[str]:
    if text == "":
        return []
    if not text.startswith("/"):
        raise ValueError("a path begins with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")]


def _at(target: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        target = target[int(step)] if isinstance(target, list) else target[step]
    return target


def _add(target: Any, steps: Sequence[str], value: Any) -> Any:
    if not steps:
        return value
    holder, last = _at(target, steps[:-1]), steps[-1]
    if isinstance(holder, list):
        at = len(holder) if last == "-" else int(last)
        if not 0 <= at <= len(holder):
            raise IndexError("outside of the list")
        holder.insert(at, value)
    else:
        holder[last] = value
    return target


def _remove(target: Any, steps: Sequence[str]) -> Any:
    if not steps:
        return None
    holder, last = _at(target, steps[:-1]), steps[-1]
    del holder[int(last) if isinstance(holder, list) else last]
    return target


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, maps merge, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def strategic_patch(target: Any, patch: Any, name: str = "") -> Any:
    """SMP: as a merge patch, but that lists with a merge key merge by it, and an item with
    `$patch: delete` is taken out."""
    if isinstance(patch, list) and name in _MERGE_KEYS:
        key = _MERGE_KEYS[name]
        result = copy.deepcopy(target) if isinstance(target, list) else []
        for item in patch:
            if not isinstance(item, dict) or key not in item:
                raise BadPatch(f"map: {item} does not contain declared merge key: {key}")
            at = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
            if item.get("$patch") == "delete":
                if at is not None:
                    del result[at]
            elif at is None:
                result.append(copy.deepcopy(item))
            else:
                result[at] = strategic_patch(result[at], item)
        return result
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = strategic_patch(merged.get(key), value, key)
    return merged
