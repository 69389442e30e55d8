"""The first screen says what is on and why the rest is not."""

import subprocess
import sys

import pytest

from exporter.pages.landing import DEFAULT_LINKS, CollectorRow, ProgramRow, Status
from exporter.startup import screen

STATUS = Status(
    version="1.2.3",
    node="node-a",
    uptime_seconds=0.1,
    not_ready=None,
    programs=(
        ProgramRow("timers", "tp_btf/timer_start", notes=("hook what ran out",)),
        ProgramRow("llcstat", None, "no hardware counters here, " * 5 + "so none"),
    ),
    collectors=(CollectorRow("usage", True), CollectorRow("process", False, "cannot read")),
    links=DEFAULT_LINKS,
    problems=("pingmesh is set",),
)


def test_each_program_and_collector_has_its_line_or_its_reason() -> None:
    assert screen(STATUS, ["http://localhost:9435"], 80).splitlines() == [
        "kernmesh 1.2.3 on node-a",
        "",
        "programs: 1 of 2 on",
        "  on   timers   tp_btf/timer_start",
        "                without hook what ran out",
        "  OFF  llcstat  no hardware counters here, no hardware counters here, no",
        "                hardware counters here, no hardware counters here, no hardware",
        "                counters here, so none",
        "collectors: 2",
        "  on   usage",
        "  FAIL process  cannot read",
        "note: pingmesh is set",
        "",
        "metrics: http://localhost:9435/metrics   page: http://localhost:9435/",
    ]


@pytest.mark.parametrize("nowhere", [">&-", ">/dev/full", "| true"])
def test_nobody_who_could_read_it_is_no_reason_to_end(nowhere: str) -> None:
    script = (
        "from exporter import startup; from exporter.commands.output import show; "
        "from tests.test_startup import STATUS; import sys; show(startup.screen(STATUS, [])); "
        "print('alive', file=sys.stderr)"
    )
    shell = f'set -o pipefail; "$@" {nowhere}'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "alive\n")


def test_output_that_cannot_be_written_is_one_line() -> None:
    schema = f"{sys.executable} -m exporter.cli schema agent"
    done = subprocess.run(
        ["sh", "-c", f"{schema} >/dev/full"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "kernmesh: [Errno 28] No space left on device\n"


def test_no_line_is_wider_than_asked_for() -> None:
    for width in (60, 80, 132):
        lines = screen(STATUS, ["http://localhost:9435"], width).splitlines()
        assert max(map(len, lines[:-1])) <= width
