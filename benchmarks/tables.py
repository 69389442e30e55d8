"""A benchmark's result as a table, its goals, and how it is written down.

A figure that an issue sets a goal for has it in two cells beside it: the goal, and whether it was
met, judged by the figure as it was measured and not as it is rounded.
"""

from collections.abc import Iterable
from typing import NamedTuple

NO_GOAL = ("", "")
NO_GOALS = "No issue sets a goal for these."


class Table(NamedTuple):
    """`rows` are texts, one per column of `head`. `notes` say what was measured and how."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def at_most(measured: float, bound: float, unit: str = "") -> tuple[str, str]:
    """The cells of a goal: the bound, and whether it holds. Of counts 0 is what is wanted."""
    return f"≤ {bound:,g} {unit}".rstrip() if bound else "0", met(measured <= bound)


def at_least(measured: float, bound: float, unit: str = "") -> tuple[str, str]:
    return f"≥ {bound:,g} {unit}".rstrip(), met(measured >= bound)


def met(holds: bool) -> str:
    return "yes" if holds else "no"


def markdown(table: Table, level: int = 2) -> str:
    """The table as GitHub Markdown with aligned columns under a heading of this level. Raises
    ValueError for a table without rows, which measured nothing."""
    if not table.rows:
        raise ValueError(f"{table.title}: no rows")
    lines = (table.head, *table.rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    rule = tuple("-" * width for width in widths)
    body = "\n".join(_row(line, widths) for line in (table.head, rule, *table.rows))
    notes = "".join(f"\n{note}\n" for note in table.notes)
    return f"{'#' * level} {table.title}\n\n{body}\n{notes}"


def show(tables: Iterable[Table]) -> None:
    """On standard output, each as soon as it is there."""
    for table in tables:
        print(markdown(table), flush=True)


def _row(cells: Iterable[str], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
