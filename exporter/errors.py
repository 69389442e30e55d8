"""The few errors that kernmesh raises, each holding its datum.

Messages follow one form: place: problem, got X, want Y, and what to do.
They are caught only at the edges: registry, sampler, agent loop, cli.
"""

from collections.abc import Sequence
from typing import NamedTuple


def one_line(text: str) -> str:
    """With line ends, and what moves a terminal's cursor, written as Python writes them (\\n,
    \\x1b): messages quote names and answers that others have chosen."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Problem(NamedTuple):
    """One thing that is wrong in an input file.

    `file` is as the user typed it; `line` counts from 1, 0 where no line is known;
    `path` is the key path inside the file ("ebpf.max_series"), "" for the whole file.
    """

    file: str
    line: int
    path: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        path = f"{self.path}: " if self.path else ""
        return one_line(f"{place}: {path}{self.text}")


class KernmeshError(Exception):
    """Whatever kernmesh itself finds wrong; its text is one line for a user."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The same, one thing that is wrong on each; never empty."""
        return (one_line(super().__str__()),)

    def __str__(self) -> str:
        return "\n".join(self.lines)


class ConfigError(KernmeshError):
    """Input files are wrong. `problems` has all that was found, in file order, never empty."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(map(str, self.problems))


class BpfError(KernmeshError):
    """The kernel or libbpf refused something. `log` is the whole verifier log, "" without one."""

    def __init__(self, text: str, log: str = "") -> None:
        self.log = log
        super().__init__(text)


class NoData(KernmeshError):
    """A collector has nothing to say here, and that is no failure: the text says why."""


class DecodeError(KernmeshError):
    """A key's bytes cannot be put into words: that row is counted and left out."""


class SkipRow(Exception):
    """A decoder asks that this row be left out, as a filter does: no error, not counted.

    `provisional`: it may be wanted at a later scrape (what it was filtered by is not final).
    """

    def __init__(self, provisional: bool = False) -> None:
        self.provisional = provisional
        super().__init__()
