"""Nodes as an API server has them, for tests of marks."""

from collections.abc import Mapping, Sequence
from typing import Any

from exporter.kube.api import Object

OURS = "kernmesh-agent"


def entry(manager: str, fields: Mapping[str, Any], operation: str = "Apply") -> Object:
    """Of managedFields."""
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "time": "2020-01-01T00:00:00Z",
        "fieldsV1": fields,
    }


def owns(
    labels: Sequence[str] = (), annotations: Sequence[str] = (), conditions: Sequence[str] = ()
) -> Object:
    """FieldsV1."""
    return {
        "f:metadata": {
            "f:labels": {f"f:{key}": {} for key in labels},
            "f:annotations": {f"f:{key}": {} for key in annotations},
        },
        "f:status": {
            "f:conditions": {f'k:{{"type":"{key}"}}': {"f:status": {}} for key in conditions}
        },
    }


def node(
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    managed: Sequence[Object] = (),
    taints: Sequence[Object] | None = None,
    conditions: Sequence[Object] = (),
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "node-a",
            "uid": "u1",
            "resourceVersion": "7",
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
            "managedFields": list(managed),
        },
        "spec": {} if taints is None else {"taints": list(taints)},
        "status": {"conditions": list(conditions)},
    }
