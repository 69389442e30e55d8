"""What dashboards ask: every query with the panel that it is of, and what it names.

PromQL is not parsed here, only looked through for names; that it is PromQL Prometheus says.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from exporter.dashboards.render import names

FOLDER = Path(__file__).resolve().parents[2] / "dashboards"
MATCHERS = 'job=~"$job",instance=~"$instance"'
SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^{}]*)\}")
_MATCHED = re.compile(r'([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"')
_GROUPED = re.compile(r"\b(?:by|on|group_left|group_right)\s*\(([^()]*)\)")
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class Query(NamedTuple):
    dashboard: str
    panel: str
    expr: str
    legend: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.expr}"

    @property
    def metrics(self) -> set[str]:
        return {name for name, _ in SELECTOR.findall(self.expr)}

    @property
    def grouped(self) -> set[str]:
        found = (part for parts in _GROUPED.findall(self.expr) for part in parts.split(","))
        return {part.strip() for part in found} - {""}

    @property
    def legends(self) -> set[str]:
        return set(_LEGEND.findall(self.legend))

    def matched(self) -> Iterator[tuple[str, str]]:
        """Metric and label of each matcher."""
        for name, matchers in SELECTOR.findall(self.expr):
            for label in _MATCHED.findall(matchers):
                yield name, label

    def filled(self, job: str = ".+", instance: str = ".+", range_: str = "5m") -> str:
        """As Grafana would ask it, everything chosen."""
        values = {
            "$job": job,
            "$instance": instance,
            "$__rate_interval": range_,
            "$__range": range_,
        }
        return re.sub(r"\$\w+", lambda found: values[found[0]], self.expr)


def read(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


def dashboards() -> dict[str, dict[str, Any]]:
    return {name: read(name) for name in names()}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that draw something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Query(name, panel["title"], target["expr"], target["legendFormat"])
        for annotation in dashboard["annotations"]["list"]:
            if "expr" in annotation:
                yield Query(name, annotation["name"], annotation["expr"], annotation["textFormat"])
