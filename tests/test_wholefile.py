"""A file that is replaced as a whole, whatever goes wrong while it is written."""

from pathlib import Path

import pytest

from exporter.wholefile import beside, replace_whole


def test_the_new_content_is_there_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    beside(path).write_text("of one that was killed")
    for data in (b"old", b"new"):
        replace_whole(path, data, mode=0o600, synced=True)
        assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_stands_beside_it_is_not_written_through(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "kept"
    other.write_text("precious")
    beside(path).symlink_to(other)
    replace_whole(path, b"new")
    assert (other.read_text(), path.read_bytes()) == ("precious", b"new")


def test_what_cannot_take_its_place_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    (path / "below").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        replace_whole(path, b"new")
    assert list(tmp_path.rglob("*")) == [path, path / "below"]
