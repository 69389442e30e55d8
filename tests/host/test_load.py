"""Load, and tasks that run and wait."""

from pathlib import Path

import pytest

from exporter.errors import KernmeshError
from exporter.host.load import Load, Tasks, parse_loadavg, parse_tasks

STAT = (
    "cpu  1 2 3\ncpu0 1\ncpu3 1\nintr 5 cpu ctxt 7\nctxt 999\nbtime 1\nprocesses 5\n"
    "procs_running 3\nprocs_blocked 2\nsoftirq 1 2\n"
)


def test_three_means_of_the_load() -> None:
    assert parse_loadavg("3.96 2.53 1.76 10/133 7327\n") == Load(3.96, 2.53, 1.76)


def test_tasks_and_the_processors_that_are_online_now() -> None:
    assert parse_tasks(STAT) == Tasks(running=3, blocked=2, cpus=2, switches=999)


def test_this_machine_has_both() -> None:
    assert parse_loadavg(Path("/proc/loadavg").read_text()).one >= 0
    assert parse_tasks(Path("/proc/stat").read_text()).cpus >= 1


@pytest.mark.parametrize("text", ["", "1.0 2.0", "a b c d"])
def test_a_load_that_is_none_is_said(text: str) -> None:
    with pytest.raises(KernmeshError, match="want three numbers first"):
        parse_loadavg(text, "p")


@pytest.mark.parametrize("without", ["ctxt", "procs_running", "procs_blocked"])
def test_a_line_that_is_missing_is_said(without: str) -> None:
    text = "".join(line for line in STAT.splitlines(True) if not line.startswith(without))
    with pytest.raises(KernmeshError, match="no ctxt, procs_running and procs_blocked"):
        parse_tasks(text)
