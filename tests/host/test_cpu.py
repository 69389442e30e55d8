"""The arithmetic of processor usage, line by line."""

from pathlib import Path

import pytest

from exporter.errors import KernmeshError
from exporter.host.cpu import CpuTimes, busy_percent, parse_cpu_times, stolen_percent

STAT = """\
cpu  100 2 30 4000 50 6 7 8 90 1
cpu0 100 2 30 4000 50 6 7 8 90 1
intr 12345 0 0
ctxt 999
"""


def test_the_line_of_all_processors_is_read_without_guest_which_is_inside_user() -> None:
    assert parse_cpu_times(STAT) == CpuTimes(100, 2, 30, 4000, 50, 6, 7, 8)


def test_this_machine_has_such_a_line() -> None:
    assert sum(parse_cpu_times(Path("/proc/stat").read_text())) > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p: no line begins with 'cpu ': is this a /proc of Linux?"),
        ("cpu0 1 2 3 4 5 6 7 8\n", "p: no line begins with 'cpu ': is this a /proc of Linux?"),
        ("cpu  1 2 3\n", "p: cpu line: got 'cpu  1 2 3', want eight numbers or more"),
        (
            "cpu  1 2 3 4 5 6 7 x\n",
            "p: cpu line: got 'cpu  1 2 3 4 5 6 7 x', want eight numbers or more",
        ),
        (
            "cpu  1 2 3 4 5 6 7 -8\n",
            "p: cpu line: got 'cpu  1 2 3 4 5 6 7 -8', want eight numbers or more",
        ),
    ],
)
def test_what_is_no_such_line_is_said(text: str, message: str) -> None:
    with pytest.raises(KernmeshError) as raised:
        parse_cpu_times(text, "p")
    assert str(raised.value) == message


ZERO = CpuTimes(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)


def after(**ticks: int) -> CpuTimes:
    return ZERO._replace(**{name: 1000 + spent for name, spent in ticks.items()})


@pytest.mark.parametrize(
    ("spent", "percent"),
    [
        (after(idle=100), 0.0),
        (after(user=100), 100.0),
        (after(user=1, nice=1, system=1, irq=1, softirq=1, steal=1, idle=6), 50.0),
        (after(iowait=75, system=25), 25.0),
        (after(idle=50, iowait=25, user=25), 25.0),
        (after(steal=30, idle=70), 30.0),
        (after(user=1, idle=2), pytest.approx(100 / 3)),
    ],
    ids=["idle", "full", "every kind", "iowait is idle", "both idles", "steal is busy", "third"],
)
def test_busy_is_what_is_neither_idle_nor_iowait(spent: CpuTimes, percent: float) -> None:
    assert busy_percent(ZERO, spent) == percent


@pytest.mark.parametrize(
    ("spent", "percent"),
    [
        (ZERO, None),
        (after(iowait=-5), None),
        (after(iowait=-5, idle=75, user=25), 25.0),
        (after(idle=-500, user=10), None),
        (after(user=-1, idle=100), None),
        (after(**dict.fromkeys(CpuTimes._fields, -900)), None),
    ],
    ids=["no time", "only iowait back", "iowait back", "idle back", "user back", "restarted"],
)
def test_counters_that_stand_or_go_back_tell_nothing_but_iowait_may(
    spent: CpuTimes, percent: float | None
) -> None:
    assert busy_percent(ZERO, spent) == percent


def test_stolen_time_is_a_share_of_all() -> None:
    assert stolen_percent(ZERO, after(steal=30, idle=60, user=10)) == 30.0
    assert stolen_percent(ZERO, ZERO) is None
