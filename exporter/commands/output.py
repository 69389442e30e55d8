"""Standard output, of which the reader may have had enough."""

import os
import sys
from collections.abc import Sequence

from exporter.errors import Problem


def show(text: str) -> None:
    """Prints it; that nobody can read it is no reason to end."""
    try:
        print(text, flush=True)
    except OSError:
        write_no_more()


def write_no_more() -> None:
    """What print still holds goes nowhere, or the end of the process would trip over it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def told(problems: Sequence[Problem]) -> int:
    """A check's end: all that is wrong on standard error, or "ok". The exit code."""
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("ok")
    return 1 if problems else 0
