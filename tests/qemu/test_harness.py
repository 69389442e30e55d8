"""What decides about a matrix of guests, without a guest: choosing kernels, reading, judging."""

from pathlib import Path

import msgspec
import pytest

from tests.programs import loads
from tests.qemu import initramfs, table, verdict
from tests.qemu.kernels import Kernel, header_packages, newest
from tests.qemu.machine import Guest, parsed
from tests.qemu.rows import DONE, Row

OLD = Kernel("5.10", "5.10.0-46-cloud-amd64", Path("vmlinuz"), Path("modules"))
NEW = Kernel("7.2", "7.2.13+deb14-cloud-amd64", Path("vmlinuz"), Path("modules"))
GOOD = Row("timers", hooks={"starts": "tp_btf/timer_start"}, events=209)
OFF = Row("timers", reason="timers: hook 'starts' has no way into this kernel: tp_btf/x: no x")
SHORT = GOOD._replace(events=3, missing=("events{function=f} >= 200: got 3",))

PACKAGES = [
    (["5.10.0-30", "5.10.0-46", "6.1.0-50"], "5.10", "5.10.0-46"),
    (["6.12.90+deb12", "6.12.95+deb12", "6.12.90+deb12.1"], "6.12", "6.12.95+deb12"),
    (["6.12.9+deb13", "6.12.10+deb13"], "6.12", "6.12.10+deb13"),
    (["7.3.2+deb14", "7.4.1+deb14", "6.12.95+deb13"], "7.2", "7.3.2+deb14"),
    (["6.1.0-50"], "6.12", None),
    ([], "6.1", None),
]


@pytest.mark.parametrize(("served", "series", "chosen"), PACKAGES)
def test_the_newest_kernel_of_a_series_is_taken_or_of_the_next_one_that_is_there(
    served: list[str], series: str, chosen: str | None
) -> None:
    names = [f"linux-image-{version}-cloud-amd64" for version in served]
    noise = [f"linux-image-{series}-cloud-amd64", f"linux-image-{series}.99-amd64", "linux-image-x"]
    assert newest([*noise, *names], series) == (chosen and f"linux-image-{chosen}-cloud-amd64")


def test_rows_come_back_from_the_serial_line_as_they_were_sent() -> None:
    rows = [GOOD, OFF._replace(functions=(("a", "b"), ("c",)), refused=("x: y",)), SHORT]
    lines = [msgspec.json.encode(row).decode() for row in rows]
    assert parsed("\r\n".join([*lines, DONE])) == (rows, True)


def test_a_guest_that_was_cut_off_keeps_what_it_had_said() -> None:
    line = msgspec.json.encode(GOOD).decode()
    assert parsed(f"\n{line}\n{line[:-9]}") == ([GOOD], False)


JUDGED = [
    (GOOD, None),
    (SHORT, "timers on 5.10.0-46-cloud-amd64: events{function=f} >= 200: got 3"),
    (OFF, f"timers on 5.10.0-46-cloud-amd64: {OFF.reason}"),
    (GOOD._replace(events=0), "timers on 5.10.0-46-cloud-amd64: counted nothing"),
    (
        GOOD._replace(forced="only this"),
        "timers on 5.10.0-46-cloud-amd64: did not come to be tried",
    ),
    (GOOD._replace(program="x"), "timers on 5.10.0-46-cloud-amd64: did not come to be tried"),
]


@pytest.mark.parametrize(("row", "failure"), JUDGED)
def test_a_program_fails_that_did_not_count_all_that_user_space_made(
    row: Row, failure: str | None
) -> None:
    guest = Guest(OLD, (row,), None, 1.0)
    assert list(verdict.failures([guest], ["timers"])) == ([failure] if failure else [])


def test_a_way_that_was_forced_fails_nobody() -> None:
    guest = Guest(OLD, (GOOD, OFF._replace(forced="starts: x")), None, 1.0)
    assert list(verdict.failures([guest], ["timers"])) == []


def test_a_guest_in_trouble_fails_by_itself() -> None:
    guest = Guest(OLD, (GOOD,), "did not end in 9 s and was killed", 9.0)
    said = ["5.10.0-46-cloud-amd64: did not end in 9 s and was killed"]
    assert list(verdict.failures([guest], ["timers"])) == said


def test_an_exception_with_its_reason_is_no_failure() -> None:
    guest = Guest(NEW, (), None, 1.0)
    assert list(verdict.failures([guest], ["llcstat"])) == []
    assert all(verdict.EXCEPTIONS.values())


def test_without_btf_a_program_may_be_off_but_not_short() -> None:
    off, short = Guest(OLD, (OFF,), None, 1.0), Guest(NEW, (SHORT,), None, 1.0)
    assert list(verdict.failures([off], ["timers"], may_be_off=True)) == []
    assert len(list(verdict.failures([short], ["timers"], may_be_off=True))) == 1


def test_hooks_of_one_kind_stand_together() -> None:
    several = GOOD._replace(hooks={"a": "raw_tp/x, raw_tp/y", "b": "fentry/z", "c": "raw_tp/x"})
    assert "| raw_tp/{x, y} fentry/z |" in table.render([Guest(OLD, (several,), None, 1.0)])


def test_what_bcc_has_loaded_stands_in_a_line_of_its_own() -> None:
    by_bcc = GOOD._replace(backend="bcc")
    lines = table.render([Guest(OLD, (GOOD,), None, 1), Guest(NEW, (by_bcc,), None, 1)])
    assert "| bcc: tp_btf/timer_start |" in lines
    assert "| tp_btf/timer_start      |" in lines


def test_headers_are_of_the_very_release_that_the_guest_runs() -> None:
    assert header_packages("6.12.95+deb12-cloud-amd64") == [
        "linux-headers-6.12.95+deb12-cloud-amd64",
        "linux-headers-6.12.95+deb12-common",
    ]


def test_of_a_kernels_headers_a_guest_gets_what_its_compiler_reads(tmp_path: Path) -> None:
    for name in ("include/linux/sched.h", "arch/x86/include/a.h", "arch/arm/include/b.h", "README"):
        file = tmp_path / "usr/src/6.1-common" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    # the folders as well, each before what is in it: cpio makes no other
    assert initramfs.header_paths(tmp_path) == [
        "usr",
        "usr/src",
        "usr/src/6.1-common",
        "usr/src/6.1-common/arch",
        "usr/src/6.1-common/arch/x86",
        "usr/src/6.1-common/arch/x86/include",
        "usr/src/6.1-common/arch/x86/include/a.h",
        "usr/src/6.1-common/include",
        "usr/src/6.1-common/include/linux",
        "usr/src/6.1-common/include/linux/sched.h",
    ]


def test_the_table_has_a_line_for_each_way_and_a_column_for_each_kernel() -> None:
    raw = GOOD._replace(hooks={"starts": "raw_tp/timer_start"}, events=7, refused=("tp_btf/x: no",))
    forced = OFF._replace(forced="starts: third")
    guests = [Guest(OLD, (raw, forced), None, 1.0), Guest(NEW, (SHORT,), None, 1.0)]
    assert table.render(guests).split("\n") == [
        "| program | hooks taken        | 5.10.0-46-cloud-amd64 | 7.2.13+deb14-cloud-amd64 |",
        "| ------- | ------------------ | --------------------: | -----------------------: |",
        "| timers  | raw_tp/timer_start |                     7 |                          |",
        "| timers  | tp_btf/timer_start |                       |                    3 (!) |",
        "",
        "- 7.2: timers: events{function=f} >= 200: got 3",
        "- 5.10: timers: passed over tp_btf/x: no",
        "",
        "The ways after those, each with no other allowed:",
        "",
        "| program | way           | 5.10.0-46-cloud-amd64 | 7.2.13+deb14-cloud-amd64 |",
        "| ------- | ------------- | --------------------: | -----------------------: |",
        "| timers  | starts: third |                   off |                          |",
        "",
        "- 5.10: timers (starts: third): hook 'starts' has no way into this kernel: tp_btf/x: no x",
    ]


def test_tables_go_between_the_marks_of_a_document_and_nowhere_else() -> None:
    document = f"# a\n{table.BEGIN}\nold\n{table.END}\nb\n"
    assert table.put_between_marks(document, "new") == f"# a\n{table.BEGIN}\nnew\n{table.END}\nb\n"
    with pytest.raises(ValueError, match="has no"):
        table.put_between_marks("# a\n", "new")


def test_the_document_has_a_place_for_the_tables() -> None:
    document = (initramfs.ROOT / "docs/kernels.md").read_text()
    assert table.put_between_marks(document, "").count(table.BEGIN) == 1


def test_a_program_without_a_load_of_its_own_gets_all_of_them() -> None:
    assert loads.load_for("timers") is loads.start_timers
    assert loads.load_for("a-new-one") is loads.everything


def test_the_first_process_starts_the_driver_and_hides_btf_only_if_asked() -> None:
    script = initramfs.init_script(["--program", "a b"], btf=True)
    assert "-m tests.qemu.guest --program 'a b' /dev/ttyS1" in script
    assert "/sys/kernel/btf" not in script
    assert "/sys/kernel/btf" in initramfs.init_script([], btf=False)
