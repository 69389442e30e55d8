"""The benchmarks' command: what it is asked for and what it says of it."""

import subprocess
import sys

from benchmarks.catalogue import NAMES


def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "benchmarks", *arguments)
    return subprocess.run(command, capture_output=True, text=True)


def test_an_unknown_name_runs_nothing_and_says_which_there_are() -> None:
    done = asked("render", "nosuch")
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"no benchmark nosuch; there are {', '.join(NAMES)}" in done.stderr


def test_help_lists_every_benchmark() -> None:
    words = asked("--help").stdout.replace(",", " ").split()
    assert set(NAMES) <= set(words)
