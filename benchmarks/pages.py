"""Sections of pages that a command writes anew: what stands between two marks, and nothing else.

A benchmark's section ends in a line that says of itself when, where and beside how much else it was
measured: one page holds sections of several runs.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple


class Run(NamedTuple):
    """`machine` is what it was made on and by, `load` the 1-minute load averages before and after;
    `others` the processors that on average ran something else, the kernel's own work included."""

    began: datetime
    seconds: float
    machine: str
    load: tuple[float, float]
    others: float

    def line(self, name: str) -> str:
        return (
            f"*`python -m benchmarks {name}`, {self.began:%Y-%m-%d %H:%M} UTC, "
            f"{self.seconds:.0f} s. {self.machine}. Load average {self.load[0]:.2f} before, "
            f"{self.load[1]:.2f} after, own work included; all else used {self.others:.2f} of a "
            "processor.*"
        )


def section(name: str, printed: str, run: Run, level: int = 2) -> str:
    """What a benchmark printed, its headings on this level, and the line of its run."""
    text = re.sub(r"^## ", f"{'#' * level} ", printed.strip(), flags=re.MULTILINE)
    return f"{text}\n\n{run.line(name)}"


def marks(name: str) -> tuple[str, str]:
    return f"<!-- benchmark {name}: begin -->", f"<!-- benchmark {name}: end -->"


def put_between(page: str, begin: str, end: str, text: str) -> str:
    """The page with this between the marks; at its end where it has none."""
    body = f"{begin}\n{text.strip()}\n{end}"
    before, found, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    if not found or not ends:
        return f"{page.rstrip()}\n\n{body}\n"
    return f"{before}{body}{after}"


def put_section(page: str, name: str, text: str, order: Sequence[str]) -> str:
    """The page with this benchmark's section; one that it did not have yet comes after those that
    come before it in `order`."""
    begin, end = marks(name)
    if begin not in page:
        place = _place(page, order[: order.index(name)], order[order.index(name) + 1 :])
        page = f"{page[:place].rstrip()}\n\n{begin}\n{end}\n\n{page[place:].lstrip()}"
    return f"{put_between(page, begin, end, text).rstrip()}\n"


def _place(page: str, earlier: Sequence[str], later: Sequence[str]) -> int:
    for name in reversed(earlier):
        _, end = marks(name)
        if end in page:
            return page.index(end) + len(end)
    found = [page.index(marks(name)[0]) for name in later if marks(name)[0] in page]
    return min(found, default=len(page))
