"""The chart as Helm itself renders it (its Go SDK, by PyPI's helm-python-sdk), and what it makes.

`python -m tests.deploy` writes the plain manifests, the values' schema and their table anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import yaml

from tests.deploy.values import CHART, schema, table, values

ROOT = CHART.parents[2]
NAME = NAMESPACE = "kernmesh"
HOOK = "helm.sh/hook"
ON = {"enabled": True}
LABELS = {
    "config": {"pressure": {"enabled": True, "taint": True}, "usage": {"pods": {"names": "api"}}}
}
_ROLES = ("prober", "controller", "labeller")
_BESIDES = ("admissionPolicy", "serviceMonitor", "prometheusRule", "dashboards", "networkPolicy")
EVERYTHING: dict[str, Any] = {
    "agent": {**LABELS, "actions": True},
    **dict.fromkeys((*_ROLES, *_BESIDES), ON),
}
PLAIN: dict[str, dict[str, Any]] = {
    "agent.yaml": {},
    "mesh.yaml": {"prober": ON, "controller": ON},
    "agent-labels.yaml": {"agent": LABELS, "admissionPolicy": ON},
    "labeller.yaml": {"labeller": ON},
}
"""Files of deploy/manifests, and the values that they are rendered with."""


def rendered(given: Mapping[str, Any], hooks: bool = False) -> list[dict[str, Any]]:
    """Every object of a release, or every one of its hooks. Raises helm_python.HelmError."""
    with helm_python.Chart.load(CHART) as chart:
        texts = chart.render(dict(given), name=NAME, namespace=NAMESPACE)
    found = [each for _, text in sorted(texts.items()) for each in yaml.safe_load_all(text)]
    there = [each for each in found if each is not None]
    return [o for o in there if (HOOK in o["metadata"].get("annotations", {})) == hooks]


def text_of(objects: list[dict[str, Any]]) -> str:
    head = "# Made of deploy/helm/kernmesh by `make manifests`.\n"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    for each in objects:  # Helm has nothing to do with these
        labels = each["metadata"]["labels"]
        for name in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            labels.pop(name, None)
        if HOOK in each["metadata"].get("annotations", {}):
            del each["metadata"]["annotations"]
    return head + yaml.safe_dump_all([namespace, *objects], sort_keys=False, width=100)


def write_schema() -> None:
    found = values((CHART / "values.yaml").read_text())
    (CHART / "values.schema.json").write_text(schema(found))


def made() -> dict[Path, str]:
    """Every file that is made of the chart, and what is to be in it."""
    found = values((CHART / "values.yaml").read_text())
    plain = {ROOT / "deploy/manifests" / name: text_of(rendered(v)) for name, v in PLAIN.items()}
    plain[ROOT / "deploy/manifests/undo.yaml"] = text_of(rendered(EVERYTHING, hooks=True))
    return {
        CHART / "values.schema.json": schema(found),
        ROOT / "docs/helm-values.md": table(found),
        **plain,
    }
