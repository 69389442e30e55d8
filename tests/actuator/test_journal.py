import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.actuator.journal import (
    JOURNAL,
    Content,
    Entry,
    Held,
    Journal,
    JournalError,
    Record,
)
from exporter.wholefile import beside

BOOT = "11111111-2222-3333-4444-555555555555"
ENTRY = Entry(
    "cpu", "batch", 7, "", "preempt", {"run": {}}, (Record("cpu.idle", before="0", after="1"),)
)


def content(*entries: Entry, boot: str = BOOT) -> Content:
    return Content(boot=boot, entries=entries)


def journal(folder: Path, boot: str = BOOT) -> Journal:
    opened = Journal(str(folder), boot)
    opened.open()
    return opened


def test_what_is_saved_is_there_for_the_next_one(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.save(content(ENTRY))
    first.close()
    assert journal(tmp_path).content == content(ENTRY)
    assert (tmp_path / JOURNAL).stat().st_mode & 0o777 == 0o600


def test_an_empty_journal_is_no_file(tmp_path: Path) -> None:
    opened = journal(tmp_path)
    opened.save(content(ENTRY))
    opened.save(content())
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a journal"),
        (b"\0" * 4096, "not a journal"),
        (b'{"version":1,"boot":"x","entries":[{"controller":3}]}', "not a journal"),
        (b'{"version":9,"boot":"x"}', "version 9, want 1"),
        (b'{"foreign":' + b"[" * 100_000, "not a journal"),
    ],
)
def test_a_torn_or_foreign_file_is_set_aside_and_said(
    tmp_path: Path, data: bytes, said: str
) -> None:
    (tmp_path / JOURNAL).write_bytes(data)
    (tmp_path / JOURNAL).chmod(0o600)
    opened = journal(tmp_path)
    assert opened.content == content()
    assert said in opened.notes[0]
    assert (tmp_path / JOURNAL).with_suffix(".bad").read_bytes() == data


@pytest.mark.parametrize("name", [JOURNAL, f"{JOURNAL.removesuffix('.journal')}.bad"])
def test_one_that_can_be_neither_read_nor_set_aside_is_an_error_and_holds_no_lock(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / JOURNAL).write_bytes(b"torn")
    (tmp_path / JOURNAL).chmod(0o600)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name / "in the way").mkdir(parents=True)
    mine = Journal(str(tmp_path), BOOT)
    for _ in range(2):
        with pytest.raises(JournalError, match="irectory"):
            mine.open()
        assert not mine.is_open


def test_of_another_boot_there_is_nothing_to_put_back(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.save(content(ENTRY))
    first.close()
    later = journal(tmp_path, boot="another")
    assert later.content.entries == ()
    assert "another boot" in later.notes[0]


def test_a_journal_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.save(content(ENTRY))
    first.close()
    (tmp_path / JOURNAL).chmod(0o666)
    with pytest.raises(JournalError, match="others own it or can write it"):
        journal(tmp_path)


def test_a_journal_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"{}")
    (tmp_path / JOURNAL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError):
        journal(tmp_path)


def test_without_a_state_directory_nothing_can_be_written_down() -> None:
    with pytest.raises(JournalError, match="state_dir is null"):
        Journal(None, BOOT).open()


def test_the_lock_says_who_has_it(tmp_path: Path) -> None:
    code = (
        "import sys; from exporter.actuator.journal import Journal\n"
        f"j = Journal({str(tmp_path)!r}, 'b'); j.open(); print('open', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        mine = Journal(str(tmp_path), BOOT)
        with pytest.raises(Held) as held:
            mine.open()
        assert held.value.pid == other.pid
        other.communicate()
    mine.open()
    assert mine.is_open


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB with no byte free."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    try:
        journal(place).close()
        with (place / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.bpf
def test_on_a_full_disk_nothing_is_written_down_and_the_old_stays(full_disk: Path) -> None:
    (full_disk / "filler").unlink()
    opened = journal(full_disk)
    opened.save(content(ENTRY))
    with (full_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(b"x" * 4096)
    with pytest.raises(JournalError, match="No space left on device: no journal, no change"):
        opened.save(content(ENTRY, ENTRY))
    assert opened.content == content(ENTRY)
    opened.close()
    assert journal(full_disk).content == content(ENTRY)
    assert not beside(full_disk / JOURNAL).exists()


@pytest.mark.bpf
def test_on_a_full_disk_an_empty_journal_can_still_be_written(full_disk: Path) -> None:
    (full_disk / "filler").unlink()
    opened = journal(full_disk)
    opened.save(content(ENTRY))
    os.truncate(full_disk / JOURNAL, 0)
    opened.save(content())
    assert not (full_disk / JOURNAL).exists()
