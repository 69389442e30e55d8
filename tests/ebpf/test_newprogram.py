"""`kernmesh new-program` writes a pair that works as it stands."""

from pathlib import Path

import pytest

from exporter.cli import main
from exporter.ebpf.newprogram import next_steps, place, write
from exporter.ebpf.objectfile import CHECKOUT
from exporter.ebpf.spec import read_program
from exporter.errors import KernmeshError


def test_the_pair_is_one_that_the_reader_takes(tmp_path: Path) -> None:
    source, description = write("tcp-resets", tmp_path / "new")
    assert [each.name for each in (source, description)] == ["tcp-resets.bpf.c", "tcp-resets.yaml"]
    program = read_program(description)
    assert [each.name for each in program.spec.metrics.counters] == ["tcp_resets_total"]
    assert "COUNTER_MAP(tcp_resets_total, struct tcp_resets_key, " in source.read_text()
    assert "@" not in source.read_text() + description.read_text()


@pytest.mark.parametrize("name", ["", "Upper", "a b", "../up", "-a", "a--b", "a_b", "1a", "a/b"])
def test_a_name_that_is_no_good_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KernmeshError, match="is no name for a program"):
        write(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["mine.yaml", "mine.bpf.c"])
def test_nothing_that_is_there_is_written_over(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(KernmeshError, match="is there already"):
        write("mine", tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernmeshError, match="cannot be written: Not a directory"):
        write("mine", tmp_path / "file" / "below")


def test_the_next_steps_name_the_files(tmp_path: Path) -> None:
    steps = next_steps("mine", tmp_path)
    assert f"FROM={tmp_path}/mine.bpf.c TO={tmp_path}/mine.bpf.o" in steps
    assert f"ebpf: {{programs: [mine], dirs: [{tmp_path}]}}" in steps


def test_without_a_folder_it_is_written_where_one_is_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-program", "mine"]) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine.bpf.c", "mine.yaml"]
    assert f"wrote {tmp_path}/mine.bpf.c\nwrote {tmp_path}/mine.yaml\n" in capsys.readouterr().out


@pytest.mark.parametrize("below", ["", "docs", "bpf"])
def test_in_a_checkout_it_is_one_of_its_programs(below: str) -> None:
    assert place(CHECKOUT.parent / below) == CHECKOUT
    assert "compile:  make setup" in next_steps("mine", CHECKOUT)
