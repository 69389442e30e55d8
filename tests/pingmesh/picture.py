"""What /mesh.json says, as a small SVG for the docs: the faults, and racks by racks in colours."""

from collections.abc import Iterator
from html import escape
from typing import Any

CELL, LEFT, FONT = 64, 96, "font-family='system-ui, sans-serif' font-size='13'"
FILL = {"green": "#bfe6c8", "yellow": "#fbe79a", "red": "#f6b1ab", "none": "#fff", "blank": "#eee"}


def svg(mesh: dict[str, Any]) -> str:
    """The whole file."""
    racks = sorted({cell["source"] for cell in mesh["cells"]})
    lines = [f"{fault['kind']} {' → '.join(fault['members'])}" for fault in mesh["faults"]]
    top = 28 * max(1, len(lines)) + 48
    texts = [f"{line} {f['evidence']}" for line, f in zip(lines, mesh["faults"], strict=True)]
    width = max([LEFT + CELL * len(racks) + 8, *(24 + 7 * len(text) for text in texts)])
    height = top + 34 * len(racks) + 8
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' {FONT}>",
        f"<rect width='{width}' height='{height}' fill='#fff'/>",
        *_faults(mesh, lines),
    ]
    for at, rack in enumerate(racks):
        x, y = LEFT + CELL * at + CELL // 2, top + 34 * at + 21
        parts.append(f"<text x='{x}' y='{top - 8}' text-anchor='middle'>{escape(rack)}</text>")
        parts.append(f"<text x='{LEFT - 8}' y='{y}' text-anchor='end'>{escape(rack)}</text>")
    for cell in mesh["cells"]:
        x = LEFT + CELL * racks.index(cell["target"])
        y = top + 34 * racks.index(cell["source"])
        text = "?" if cell["p99_ms"] is None else f"{cell['p99_ms']:.2f} ms"
        if cell["drop"]:
            text = f"−{cell['drop']:.0%}"
        parts.append(
            f"<rect x='{x}' y='{y}' width='{CELL - 2}' height='32' fill='{FILL[cell['colour']]}'/>"
            f"<text x='{x + CELL // 2 - 1}' y='{y + 21}' text-anchor='middle'>{text}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _faults(mesh: dict[str, Any], lines: list[str]) -> Iterator[str]:
    if not lines:
        yield "<text x='8' y='24'>Nothing stands out.</text>"
    for at, (line, fault) in enumerate(zip(lines, mesh["faults"], strict=True)):
        y = 24 + 28 * at
        yield (
            f"<text x='8' y='{y}'><tspan fill='#a31515' font-weight='bold'>{escape(line)}</tspan>"
            f"<tspan fill='#555' dx='8'>{escape(fault['evidence'])}</tspan></text>"
        )
