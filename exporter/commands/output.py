"""Standard output, of which the reader may have had enough."""

import os


def show(text: str) -> None:
    """Prints it; that nobody can read it is no reason to end."""
    try:
        print(text, flush=True)
    except OSError:
        write_no_more()


def write_no_more() -> None:
    """What print still holds goes nowhere, or the end of the process would trip over it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
