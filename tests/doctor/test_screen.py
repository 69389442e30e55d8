"""The screen, the JSON, and what they end with."""

import json

import pytest

from exporter.doctor.line import Line
from exporter.doctor.screen import as_json, screen, verdict

FINE = Line("BTF", "ok", "the kernel carries its own")
SLOW = Line("clock", "degraded", "not synchronised", "run chronyd")
GONE = Line("PMU", "missing", "no counters", "another machine", "ebpf.programs: llcstat")
SPARE = Line("bpffs", "missing", "not mounted", "mount it")
DARK = Line("lockdown", "unknown", "cannot be read", "ask as root")


def test_each_subject_is_a_line_with_its_mend_below() -> None:
    assert screen([FINE, SLOW, GONE]).splitlines() == [
        "BTF    ok        the kernel carries its own",
        "clock  degraded  not synchronised",
        "                 -> run chronyd",
        "PMU    missing   no counters [wanted by ebpf.programs: llcstat]",
        "                 -> another machine",
        "",
        "1 ok, 1 degraded, 1 missing; the configuration wants what is missing: PMU",
    ]


@pytest.mark.parametrize("width", [1, 60, 80, 200])
def test_long_lines_are_folded_and_nothing_of_them_is_lost(width: int) -> None:
    long = SLOW._replace(found="word " * 50, mend="mend-it " * 50)
    text = screen([FINE, long], width)
    assert (text.count("word"), text.count("mend-it")) == (50, 50)
    *lines, _, _ = text.splitlines()
    assert max(map(len, lines)) <= max(width, 57)


@pytest.mark.parametrize(
    ("lines", "says", "ok"),
    [
        ([FINE, SLOW], "nothing that the configuration wants is missing", True),
        ([FINE, SPARE], "nothing that the configuration wants is missing", True),
        ([FINE, DARK], "nothing that the configuration wants is known to be missing", True),
        ([GONE, DARK], "the configuration wants what is missing: PMU", False),
    ],
)
def test_the_end_says_whether_the_configuration_gets_what_it_wants(
    lines: list[Line], says: str, ok: bool
) -> None:
    assert verdict(lines).endswith(f"; {says}")
    assert json.loads(as_json(lines))["ok"] is ok


def test_json_has_every_field_of_a_line() -> None:
    (row,) = json.loads(as_json([GONE]))["lines"]
    assert row == {
        "subject": "PMU",
        "state": "missing",
        "found": "no counters",
        "mend": "another machine",
        "wanted_by": "ebpf.programs: llcstat",
        "failing": True,
    }
