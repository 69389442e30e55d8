"""Files kept open: read anew each time, bounded in number, gone when they are."""

from pathlib import Path

import pytest

from exporter.host.open_files import (
    MOST_DESCRIPTORS,
    Descriptors,
    Gone,
    OpenFiles,
    affordable,
    read_once,
)


def test_texts_are_those_of_now(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    files = OpenFiles([str(file), "", str(tmp_path / "none")], Descriptors(8))
    assert files.read() == [b"1", None, None]
    file.write_text("22")
    assert files.read() == [b"22", None, None]
    files.close()


def test_a_long_text_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a"
    files = OpenFiles([str(file)], Descriptors(8))
    for size in (3, 16_384, 200_000):
        file.write_bytes(b"x" * size)
        assert files.read() == [b"x" * size]
    files.close()


def test_where_nothing_is_there_it_is_gone_and_may_come_back(tmp_path: Path) -> None:
    files = OpenFiles([str(tmp_path / "a")], Descriptors(8))
    with pytest.raises(Gone):
        files.read()
    (tmp_path / "a").write_text("1")
    assert files.read() == [b"1"]
    files.close()


def test_what_is_closed_makes_room(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    budget = Descriptors(2)
    first, second = (OpenFiles([str(tmp_path / "a")] * 2, budget) for _ in range(2))
    assert first.read() == second.read() == [b"1", b"1"]
    assert budget.left == 0
    first.close()
    assert budget.left == 2
    assert second.read() == [b"1", b"1"]
    assert budget.left == 0
    second.close()


def test_a_folder_and_a_missing_file_say_nothing(tmp_path: Path) -> None:
    assert read_once(str(tmp_path)) is None
    assert read_once(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("limit", "want"),
    [(None, MOST_DESCRIPTORS), (96 << 20, 512), (8 << 30, MOST_DESCRIPTORS), (1 << 20, 5), (0, 0)],
)
def test_where_memory_is_little_fewer_files_are_kept_open(limit: int | None, want: int) -> None:
    assert affordable(limit) == want
