"""Names in the configuration to programs on disk, each problem kept to its own program."""

from pathlib import Path

import pytest

from exporter.config import Ebpf
from exporter.ebpf.selection import check_all, select

GOOD = "metrics: {counters: [{name: things_total, help: Things}]}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(GOOD)
    (tmp_path / "broken.yaml").write_text("metrics: {counters: [{name: a b}]}\nhooks: 3\n")
    (tmp_path / "timers.yaml").write_text(GOOD)
    return tmp_path


def test_shipped_and_own_programs_are_found_in_the_order_asked_for(folder: Path) -> None:
    chosen = select(Ebpf(programs=("oomkill", "mine"), dirs=(str(folder),)))
    assert [each.name for each in chosen.programs] == ["oomkill", "mine"]
    assert chosen.programs[1].object == folder / "mine.bpf.o"
    assert not chosen.off and not chosen.problems


def test_a_users_program_goes_before_the_shipped_one_of_that_name(folder: Path) -> None:
    chosen = select(Ebpf(programs=("timers",), dirs=(str(folder),)))
    assert chosen.programs[0].yaml == folder / "timers.yaml"


def test_all_means_every_yaml_there_is(folder: Path) -> None:
    chosen = select(Ebpf(programs="all", dirs=(str(folder),)))
    assert {"biolatency", "oomkill", "timers", "mine", "broken"} <= set(chosen.order)
    assert {"mine", "broken"} & set(chosen.off) == {"broken"}


def test_a_broken_file_is_off_with_its_first_problem_and_all_are_kept(folder: Path) -> None:
    chosen = select(Ebpf(programs=("broken", "mine"), dirs=(str(folder),)))
    assert [each.name for each in chosen.programs] == ["mine"]
    assert chosen.off["broken"].startswith(f"{folder}/broken.yaml:1: metrics.counters[0].name: ")
    assert chosen.off["broken"].endswith("(and 1 more: kernmesh check)")
    assert len(chosen.problems) == 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("absent", "No such file or directory"),
        ("mine.yaml", "Not a directory"),
        ("a" * 300, "File name too long"),
        ("nul\0", "embedded null byte"),
    ],
)
def test_a_folder_that_cannot_be_read_is_said_and_costs_no_other(
    folder: Path, name: str, why: str
) -> None:
    config = Ebpf(programs=("timers", "mine"), dirs=(str(folder / name), str(folder)))
    chosen = select(config)
    shown = str(folder / name).replace("\0", "\\x00")
    text = f"{shown}: no programs can be had from this folder (ebpf.dirs): {why}"
    assert [str(problem) for problem in chosen.unread] == [text]
    assert [each.name for each in chosen.programs] == ["timers", "mine"]
    assert text in map(str, check_all(config))


@pytest.mark.parametrize(
    ("name", "words"),
    [("timer", "did you mean timers?"), ("qqqq", " biolatency, ")],
)
def test_a_name_that_is_not_there_says_what_is(name: str, words: str) -> None:
    chosen = select(Ebpf(programs=(name,)))
    assert f"no {name}.yaml among the shipped programs" in chosen.off[name]
    assert words in chosen.off[name]


def test_check_has_the_problems_of_files_and_of_objects(folder: Path) -> None:
    problems = check_all(Ebpf(programs=("broken", "mine", "nope"), dirs=(str(folder),)))
    files = [problem.file for problem in problems]
    assert files.count(f"{folder}/broken.yaml") == 2
    assert any("nope" in problem.path for problem in problems)
    assert any(problem.file == f"{folder}/mine.bpf.o" for problem in problems)
