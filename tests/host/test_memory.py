"""Memory in use as node-metrics and crane mean it: MemTotal − MemAvailable."""

from pathlib import Path

import pytest

from exporter.errors import KernmeshError
from exporter.host.memory import (
    Memory,
    Reclaim,
    parse_meminfo,
    parse_memory,
    parse_reclaim,
    used_percent,
)

MEMINFO = """\
MemTotal:       16000000 kB
MemFree:         1000000 kB
MemAvailable:   12000000 kB
Buffers:          200000 kB
HugePages_Total:       0
"""


def test_total_and_available_are_read_as_bytes() -> None:
    assert parse_memory(MEMINFO) == Memory(16_000_000 * 1024, 12_000_000 * 1024)


def test_this_machine_says_both() -> None:
    assert 0 < used_percent(parse_memory(Path("/proc/meminfo").read_text())) < 100


@pytest.mark.parametrize(
    ("total", "available", "percent"), [(4, 4, 0.0), (4, 3, 25.0), (4, 0, 100.0)]
)
def test_what_is_not_available_is_used(total: int, available: int, percent: float) -> None:
    assert used_percent(Memory(total, available)) == percent


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p: no MemTotal and no MemAvailable line (Linux before 3.14?)"),
        ("MemTotal: 1 kB\n", "p: no MemAvailable line (Linux before 3.14?)"),
        (
            "MemTotal: many kB\nMemAvailable: 1 kB\n",
            "p: MemTotal: got 'many kB', want a number of kB",
        ),
        ("MemTotal: 1 MB\nMemAvailable: 1 kB\n", "p: MemTotal: got '1 MB', want a number of kB"),
        (
            f"MemTotal: {'9' * 5000} kB\nMemAvailable: 1 kB\n",
            f"p: MemTotal: got '{'9' * 5000} kB', want a number of kB",
        ),
        ("MemTotal:\nMemAvailable: 1 kB\n", "p: MemTotal: got '', want a number of kB"),
        (
            "MemTotal: 0 kB\nMemAvailable: 0 kB\n",
            "p: MemAvailable 0 of MemTotal 0 makes no sense",
        ),
        (
            "MemTotal: 1 kB\nMemAvailable: 2 kB\n",
            "p: MemAvailable 2048 of MemTotal 1024 makes no sense",
        ),
    ],
)
def test_what_cannot_be_true_is_said_and_not_taken_for_zero(text: str, message: str) -> None:
    with pytest.raises(KernmeshError) as raised:
        parse_memory(text, "p")
    assert str(raised.value) == message


def test_all_that_is_bytes_is_read_and_nothing_else() -> None:
    text = "MemFree: 7 kB\nHugePages_Total: 3\nnonsense\nDirty:\t 2 kB\nX: y kB\n"
    assert parse_meminfo(text) == {"MemFree": 7168, "Dirty": 2048}


VMSTAT = """\
nr_free_pages 5
allocstall_dma 1
allocstall_normal 2
compact_stall 4
workingset_refault_anon 10
workingset_refault_file 20
workingset_activate_anon 1
workingset_activate_file 5
"""


def test_reclaim_events_of_all_zones_and_kinds_are_added_up() -> None:
    assert parse_reclaim(VMSTAT) == Reclaim(3, 4, 30, 6)
    old = "allocstall 9\nworkingset_refault 3\nworkingset_activate 2\n"
    assert parse_reclaim(old) == Reclaim(9, None, 3, 2)
    with pytest.raises(KernmeshError, match="p: no allocstall line"):
        parse_reclaim(VMSTAT.replace("allocstall", "x"), "p")


@pytest.mark.parametrize("value", ["", "many", "-1", "1 2", "9" * 5000])
def test_an_event_that_is_no_number_is_said(value: str) -> None:
    with pytest.raises(KernmeshError, match="p: workingset_refault_anon: got"):
        parse_reclaim(VMSTAT + f"workingset_refault_anon {value}\n", "p")
