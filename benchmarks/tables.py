"""A benchmark's result as a table, and how it is written down."""

from collections.abc import Iterable
from typing import NamedTuple


class Table(NamedTuple):
    """`rows` are texts, one per column of `head`. `notes` say what was measured and how."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def markdown(table: Table) -> str:
    """The table as GitHub Markdown with aligned columns."""
    lines = (table.head, *table.rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    rule = tuple("-" * width for width in widths)
    body = "\n".join(_row(line, widths) for line in (table.head, rule, *table.rows))
    notes = "".join(f"\n{note}\n" for note in table.notes)
    return f"## {table.title}\n\n{body}\n{notes}"


def _row(cells: Iterable[str], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
