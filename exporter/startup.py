"""The one screen that the agent prints when it has started: what is on, what is not and why.

Pure text from the same rows that the landing page shows.
"""

import os
import textwrap
from collections.abc import Iterator, Sequence

from exporter.pages.landing import Status

STDOUT = 1


def screen(status: Status, urls: Sequence[str], width: int | None = None) -> str:
    """The whole text, without a trailing newline. `width` in columns; None: the terminal's."""
    return "\n".join(_lines(status, urls, max(width or _columns(), 60)))


def _columns() -> int:
    try:  # not shutil's, which brings three compressors along
        return os.get_terminal_size(STDOUT).columns
    except OSError:  # no terminal: a log or a pipe
        return 100


def _lines(status: Status, urls: Sequence[str], width: int) -> Iterator[str]:
    yield f"kernmesh {status.version} on {status.node}"
    yield ""
    running = sum(row.hook is not None for row in status.programs)
    yield f"programs: {running} of {len(status.programs)} on"
    names = [row.name for row in status.programs] + [row.name for row in status.collectors]
    margin = max(map(len, names), default=0)
    for row in status.programs:
        text = row.hook if row.hook is not None else f"{row.reason}"
        yield from _entry("on" if row.hook is not None else "OFF", row.name, text, margin, width)
        for note in row.notes:
            yield from _entry("", "", f"without {note}", margin, width)
    yield f"collectors: {len(status.collectors)}"
    for collector in status.collectors:
        mark = "FAIL" if collector.ok is False else "on"
        yield from _entry(mark, collector.name, collector.detail, margin, width)
    for problem in status.problems:
        yield from textwrap.wrap(f"note: {problem}", width, subsequent_indent="      ")
    yield ""
    yield from (f"metrics: {url}/metrics   page: {url}/" for url in urls)


def _entry(mark: str, name: str, text: str, margin: int, width: int) -> list[str]:
    head = f"  {mark:4} {name:{margin}}  "
    # Paths stay whole: they are there to be copied.
    return textwrap.wrap(
        text,
        width,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
        break_long_words=False,
    ) or [head.rstrip()]
