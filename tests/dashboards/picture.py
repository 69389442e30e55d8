"""Previews of the dashboards, drawn of what their queries answer on a live stack: no Grafana.

`python -m tests.dashboards.picture FOLDER` (root, a minute) writes one SVG per dashboard: where its
panels are, and what is in them. The top of each only: a preview.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tests.dashboards.queries import Query, dashboards
from tests.dashboards.stack import begin, load, stack
from tests.peers import Prometheus, Series

COLUMN, LINE, LINES = 40, 20, 34
SECONDS, STEP = 60, 2
COLOURS = ("#3b7dd8", "#d9822b", "#3d9970", "#b8459b", "#8a6d3b", "#666")
NOTE = (
    "Preview by kernmesh's tests, of live answers to the panels' queries. Not a picture of Grafana."
)


class Box(NamedTuple):
    x: float
    y: float
    w: float
    h: float


def text(x: float, y: float, words: str, size: int = 11, colour: str = "#333") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}">{escape(words)}</text>'
    )


def lines(rows: Sequence[Sequence[tuple[float, float]]], box: Box, start: float) -> Iterator[str]:
    most = max((value for row in rows for _, value in row), default=0.0) or 1.0
    for number, row in enumerate(rows[:20]):
        points = " ".join(
            f"{box.x + (at - start) / SECONDS * box.w:.1f},"
            f"{box.y + box.h - max(value, 0.0) / most * box.h:.1f}"
            for at, value in row
        )
        colour = COLOURS[number % len(COLOURS)]
        yield f'<polyline points="{points}" fill="none" stroke="{colour}"/>'


def cells(rows: Sequence[Sequence[tuple[float, float]]], box: Box, start: float) -> Iterator[str]:
    most = max((value for row in rows for _, value in row), default=0.0) or 1.0
    height, width = box.h / max(len(rows), 1), box.w * STEP / SECONDS
    for number, row in enumerate(rows):
        y = box.y + box.h - (number + 1) * height
        for at, value in row:
            x = box.x + (at - start) / SECONDS * box.w
            if value / most > 0.002 and x + width <= box.x + box.w:
                yield (
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                    f'fill="#d9822b" fill-opacity="{(value / most) ** 0.5:.2f}"/>'
                )


def words(found: Sequence[Series], box: Box) -> Iterator[str]:
    for at, row in enumerate(found[: int(box.h // 14)]):
        labels = [v for k, v in row.labels.items() if k not in ("__name__", "job", "instance")]
        line = f"{' '.join(labels)}  {row.value:.4g}"
        yield text(box.x, box.y + 11 + 14 * at, line[: int(box.w // 6)], 10)


def number(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
    return f"{value:.4g}"


def difference(rows: Sequence[Sequence[tuple[float, float]]]) -> list[list[tuple[float, float]]]:
    """Buckets are cumulative; what is drawn is each by itself."""
    made, before = list[list[tuple[float, float]]](), dict[float, float]()
    for row in rows:
        made.append([(at, value - before.get(at, 0.0)) for at, value in row])
        before = dict(row)
    return made


def bound(row: dict[str, Any]) -> float:
    return float(row["metric"].get("le", "0"))


def draw(panel: dict[str, Any], server: Prometheus, box: Box, end: float) -> Iterator[str]:
    asked = [Query("", "", each["expr"], "").filled(range_="20s") for each in panel["targets"]]
    if panel["type"] not in ("timeseries", "heatmap"):
        found = [row for expr in asked for row in server.query(expr, end)]
        if panel["type"] == "stat" and len(found) == 1:
            unit = panel["fieldConfig"]["defaults"]["unit"]
            yield text(box.x, box.y + 30, number(found[0].value, unit), 26)
        else:
            yield from words(found, box)
        return
    rows = list[dict[str, Any]]()
    for expr in asked:
        span = {"start": f"{end - SECONDS:.3f}", "end": f"{end:.3f}", "step": str(STEP)}
        rows += server.ask("query_range", query=expr, **span)["result"]
    heat = panel["type"] == "heatmap"
    if heat:
        rows.sort(key=bound)
    points = [
        [(at, float(value)) for at, value in row["values"] if value not in ("NaN", "+Inf")]
        for row in rows
    ]
    if heat and any("le" in row["metric"] for row in rows):
        points = difference(points)
    yield from (cells if heat else lines)(points, box, end - SECONDS)


def svg(dashboard: dict[str, Any], server: Prometheus, end: float) -> str:
    found = [each for each in dashboard["panels"] if each["gridPos"]["y"] < LINES]
    size = COLUMN * 24, LINE * LINES + 24
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" '
        'font-family="sans-serif">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#f4f5f5"/>',
        text(8, 16, f"{dashboard['title']}. {NOTE}", 12),
    ]
    for panel in found:
        place = panel["gridPos"]
        x, y = place["x"] * COLUMN + 2, place["y"] * LINE + 26
        w, h = place["w"] * COLUMN - 4, place["h"] * LINE - 4
        if panel["type"] == "row":
            out.append(text(x + 4, y + 13, f"⌄ {panel['title']}", 12))
            continue
        out.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="3" fill="#fff"/>')
        out.append(text(x + 6, y + 14, panel["title"][: w // 7], 11))
        out += draw(panel, server, Box(x + 6, y + 22, w - 12, h - 28), end)
    return "\n".join([*out, "</svg>\n"])


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch, stack(Path(scratch)) as made:
        began = time.time()
        begin(made.ground)
        while time.time() < began + SECONDS:
            load(made.ground)
        made.prometheus.eventually("min(min_over_time(up[5s])) == 1")
        (now,) = made.prometheus.query("vector(time())")
        for name, dashboard in dashboards().items():
            (folder / f"{name}.svg").write_text(svg(dashboard, made.prometheus, now.value))
            print(f"wrote {folder / name}.svg")


if __name__ == "__main__":
    main()
