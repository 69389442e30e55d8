"""values.yaml read with its comments: of it are made values.schema.json and docs/helm-values.md.

The rule: every key has a comment above it; what is another's language (Kubernetes' own fields, our
configuration files) is open, all else is closed, so that a slip is an error of `helm install`.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "kernmesh"
ROLES = ("agent", "prober", "controller", "labeller")
CHOICES: dict[str, list[Any]] = {
    "admissionPolicy.enabled": ["auto", True, False],
    "image.pullPolicy": ["Always", "IfNotPresent", "Never"],
}


class Value(NamedTuple):
    """`path` as in --set; `default` as read."""

    path: str
    default: Any
    comment: str


def values(text: str) -> list[Value]:
    """Sections (maps with comments within) are not values themselves. Raises ValueError for a key
    without a comment."""
    defaults = yaml.safe_load(text)
    found, comment, section = [], "", ""
    for line in text.splitlines()[1:]:
        said = re.fullmatch(r" *# ?(.*)", line)
        key = re.match(r"( *)([\w.]+):(.*)", line)
        if said:
            comment = f"{comment} {said[1]}".strip()
        elif key and len(key[1]) in (0, 2):
            if not key[1] and not key[3] and not comment:
                section = key[2]
                continue
            path = f"{section}.{key[2]}" if key[1] else key[2]
            inner = defaults[section][key[2]] if key[1] else defaults[key[2]]
            if not comment:
                raise ValueError(f"values.yaml: {path} has no comment")
            found.append(Value(path, inner, comment))
            comment = ""
    return found


def schema(found: list[Value]) -> str:
    top: dict[str, Any] = {}
    for value in found:
        *section, key = value.path.split(".")
        into = top
        if section:
            closed = {"type": "object", "additionalProperties": False, "properties": {}}
            into = top.setdefault(section[0], closed)["properties"]
        into[key] = {**_type(value), "description": value.comment}
    top["global"] = {"type": "object"}  # a chart above this one may have its own
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "properties": top,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _type(value: Value) -> dict[str, Any]:
    if value.path in CHOICES:
        return {"enum": CHOICES[value.path]}
    if value.path.endswith(".port"):
        return {"type": "integer", "minimum": 1, "maximum": 65535}
    if value.path.endswith(".replicas"):
        return {"type": "integer", "minimum": 0}
    names = {bool: "boolean", str: "string", list: "array", dict: "object"}
    return {"type": names[type(value.default)]}


def table(found: list[Value]) -> str:
    """docs/helm-values.md."""
    lines = [
        "# Values of the chart",
        "",
        "Made of the comments of `deploy/helm/kernmesh/values.yaml` by `make manifests`.",
        "",
        "| value | default | |",
        "|---|---|---|",
    ]
    for value in found:
        default = json.dumps(value.default, ensure_ascii=False).replace("|", r"\|")
        lines.append(
            f"| `{value.path}` | `{default}` | {value.comment.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines) + "\n"
