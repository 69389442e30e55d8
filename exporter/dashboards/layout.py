"""A dashboard out of what its template says: numbered, placed, with its queries lettered.

Pure. The template says how wide and high a panel is; here it gets its place, from left to right as
in a text, a row on a line of its own. Numbers follow the order, so the same template gives the same
bytes (https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model).
"""

import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

WIDTH = 24
"""Columns of Grafana's grid; a unit of height is 30 pixels."""

Values = Mapping[str, Any]


def assemble(values: Iterable[Values]) -> dict[str, Any]:
    """The first value is the dashboard, those after it are its panels and rows. Panels have `w` and
    `h`, of which they are relieved; what the dashboard requires is cut to what it has. Raises
    ValueError where there is no dashboard."""
    each = iter(values)
    dashboard = next(each, None)
    if dashboard is None:
        raise ValueError("a template that says nothing")
    panels = list(_placed(each))
    types = {panel["type"] for panel in panels}
    requires = [r for r in dashboard["__requires"] if r["type"] != "panel" or r["id"] in types]
    return {**dashboard, "__requires": requires, "panels": panels}


def _placed(panels: Iterable[Values]) -> Iterator[dict[str, Any]]:
    x = y = line = 0
    for number, panel in enumerate(panels, start=1):
        row = panel["type"] == "row"
        w, h = (WIDTH, 1) if row else (panel["w"], panel["h"])
        if row or x + w > WIDTH:
            x, y, line = 0, y + line, 0
        place = {"x": x, "y": y, "w": w, "h": h}
        if row:
            y += 1
        else:
            x, line = x + w, max(line, h)
        kept = {key: value for key, value in panel.items() if key not in ("w", "h")}
        if "targets" in panel:
            kept["targets"] = [
                {"refId": letter, **target}
                for letter, target in zip(string.ascii_uppercase, panel["targets"], strict=False)
            ]
        yield {"id": number, "gridPos": place, **kept}
