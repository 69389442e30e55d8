"""Files that others took the place of."""

from pathlib import Path

from exporter.privileges.strays import Strays


def test_a_file_that_was_exchanged_is_told_and_one_that_was_rewritten_is_not(
    tmp_path: Path,
) -> None:
    exchanged, rewritten, removed, folder, link = (tmp_path / name for name in "abcde")
    for file in (exchanged, rewritten, removed):
        file.write_text("1")
    folder.mkdir()
    (folder / "to").write_text("1")
    link.symlink_to(folder / "to")
    strays = Strays([exchanged, rewritten, removed, folder, link, tmp_path / "never"])
    assert strays.found() == ()
    (tmp_path / "other").write_text("2")
    (tmp_path / "other").replace(folder / "to")  # which a rule for the folder lets be read
    (tmp_path / "new").write_text("2")
    (tmp_path / "new").replace(exchanged)
    rewritten.write_text("2")
    removed.unlink()
    assert strays.found() == (exchanged,)
