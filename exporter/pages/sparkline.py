"""Points over time as a small inline SVG, with a text that says the same.

The rule: pure; what is unknown is a gap in the line, never a zero and never a bridge. The SVG has
no style of its own (class `spark`: the page's colours hold, light and dark), no script and no link.
"""

import math
from html import escape

from exporter.pages.section import Points

WIDTH, HEIGHT = 240, 32
_DOT = 1.5
_EDGE = 1.5
"""Room for half of the line's width, so that 0 and the top are seen whole."""


def sparkline(points: Points, top: float, text: str) -> str:
    """As HTML. `points` are at equal distances in time, the newest last; `top` is the value of the
    upper edge (what is over it is drawn there), 0 the lower. `text` is the alternative."""
    runs = _runs(points)
    step = WIDTH / max(len(points) - 1, 1)
    shapes = []
    for start, values in runs:
        along = [(start + index) * step for index in range(len(values))]
        if len(values) == 1:  # a line of one point would not be seen
            along, values = [max(along[0] - _DOT, 0.0), along[0] + _DOT], values * 2
        heights = [_height(value, top) for value in values]
        places = [f"{x:.1f},{y:.1f}" for x, y in zip(along, heights, strict=True)]
        shapes.append(f'<polyline points="{" ".join(places)}"/>')
    return (
        f'<svg class="spark" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" preserveAspectRatio="none" aria-label="{escape(text)}">'
        f"<title>{escape(text)}</title>{''.join(shapes)}</svg>"
    )


def described(points: Points, name: str, span: str, unit: str) -> str:
    """The text alternative: what the line shows, in numbers."""
    known = [value for value in points if _known(value) and value is not None]
    if not known:
        return f"{name}, {span}: no data"
    low, high, last = min(known), max(known), points[-1]
    now = f"now {number(last)}" if last is not None and _known(last) else "now unknown"
    text = f"{name}, {span}: {now}, lowest {number(low)}, highest {number(high)} {unit}".rstrip()
    gaps = len(points) - len(known)
    return f"{text}; no data for {gaps / len(points):.0%} of it" if gaps else text


def number(value: float) -> str:
    """Three digits that matter: "0.04", "6.3", "1,204"."""
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 1 else f"{value:.2g}"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _runs(points: Points) -> list[tuple[int, list[float]]]:
    """Stretches without a gap: where each begins, and its values."""
    runs: list[tuple[int, list[float]]] = []
    open_run = False
    for index, value in enumerate(points):
        if value is None or not math.isfinite(value):
            open_run = False
            continue
        if not open_run:
            runs.append((index, []))
            open_run = True
        runs[-1][1].append(value)
    return runs


def _height(value: float, top: float) -> float:
    part = min(max(value / top, 0.0), 1.0) if top > 0 else 0.0
    return HEIGHT - _EDGE - part * (HEIGHT - 2 * _EDGE)
