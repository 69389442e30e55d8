"""Which programs run: each stands by itself, and a reload touches only what has changed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.running import Programs
from exporter.ebpf.selection import Selection
from exporter.ebpf.spec import Program, ProgramSpec
from exporter.ebpf.status import FailedProgram, ProgramsCollector
from exporter.errors import BpfError
from exporter.testing import FakeProgram
from tests.kernel.workloads import eventually


class Kernel:
    """Starts fakes. `refuses` are names that it will not take."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refuses: set[str] = set()
        self.started: list[FakeProgram] = []
        self.quiet_depth = 0

    def program(self, name: str) -> Program:
        file = self.folder / f"{name}.bpf.o"
        if not file.exists():
            file.touch()
        return Program(name, self.folder / f"{name}.yaml", file, ProgramSpec())

    def select(self, *names: str, **off: str) -> Selection:
        programs = tuple(self.program(name) for name in names)
        return Selection((*names, *off), programs, off, ())

    def start(self, program: Program) -> ProgramCollector:
        if program.name in self.refuses:
            raise BpfError(f"{program.name}: hook 'x' has no way into this kernel")
        self.started.append(FakeProgram(program.name))
        return ProgramCollector(self.started[-1], program.spec, "p", 10, {})

    @contextmanager
    def quiet(self) -> Iterator[None]:
        before = {id(each): each.closed for each in self.started}
        yield
        self.quiet_depth += sum(each.closed - before[id(each)] for each in self.started)

    def alive(self) -> list[str]:
        return [each.name for each in self.started if not each.closed]


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


@pytest.fixture
def programs(kernel: Kernel) -> Programs:
    return Programs(ProgramsCollector("p"), kernel.quiet)


def names(programs: Programs) -> list[str]:
    return [each.name for each in programs.running]


def test_one_that_is_refused_is_off_with_its_reason_and_the_others_run(
    kernel: Kernel, programs: Programs
) -> None:
    kernel.refuses = {"b"}
    programs.choose(kernel.select("a", "b", "c", d="no such file"), kernel.start)
    assert names(programs) == ["a", "c"]
    assert programs.failed == (
        FailedProgram("b", "hook 'x' has no way into this kernel"),
        FailedProgram("d", "no such file"),
    )


def test_an_error_that_nobody_thought_of_costs_its_own_program_only(
    kernel: Kernel, programs: Programs
) -> None:
    def start(program: Program) -> ProgramCollector:
        if program.name == "b":
            raise FileNotFoundError(2, "No such file or directory", "/host/proc/kallsyms")
        return kernel.start(program)

    programs.choose(kernel.select("a", "b", "c"), start)
    assert names(programs) == ["a", "c"]
    [off] = programs.failed
    assert off.name == "b"
    assert off.reason.startswith("FileNotFoundError: ") and "/host/proc/kallsyms" in off.reason


def test_who_closes_waits_for_one_program_and_not_for_all(
    kernel: Kernel, programs: Programs
) -> None:
    closing = threading.Thread(target=programs.close)

    def start(program: Program) -> ProgramCollector:
        if program.name == "b":
            closing.start()
            assert eventually(lambda: programs.closing)
        return kernel.start(program)

    programs.choose(kernel.select("a", "old"), kernel.start)
    programs.choose(kernel.select("a", "b", "c", "old"), start)
    closing.join()
    assert [each.name for each in kernel.started] == ["a", "old", "b"]
    assert kernel.alive() == []


def test_programs_started_side_by_side_are_shown_in_the_order_asked_for(
    kernel: Kernel, programs: Programs
) -> None:
    both_here = threading.Barrier(2, timeout=30)

    def start(program: Program) -> ProgramCollector:
        both_here.wait()
        return kernel.start(program)

    kernel.refuses = {"b"}
    programs.choose(kernel.select("a", "b", "c", "d"), start, at_once=2)
    assert names(programs) == ["a", "c", "d"]
    assert [each.name for each in programs.failed] == ["b"]


def test_choosing_the_same_again_leaves_everything_alone(
    kernel: Kernel, programs: Programs
) -> None:
    programs.choose(kernel.select("a", "b"), kernel.start)
    programs.choose(kernel.select("b", "a"), kernel.start)
    assert names(programs) == ["b", "a"]
    assert len(kernel.started) == 2
    assert kernel.alive() == ["a", "b"]


def test_what_is_no_longer_chosen_is_closed_while_no_scrape_runs(
    kernel: Kernel, programs: Programs
) -> None:
    programs.choose(kernel.select("a", "b"), kernel.start)
    programs.choose(kernel.select("b"), kernel.start)
    assert kernel.alive() == ["b"]
    assert kernel.quiet_depth == 1


def test_a_changed_object_or_setting_starts_its_program_anew(
    kernel: Kernel, programs: Programs
) -> None:
    programs.choose(kernel.select("a", "b"), kernel.start, ("prefix",))
    (kernel.folder / "a.bpf.o").write_bytes(b"other")
    programs.choose(kernel.select("a", "b"), kernel.start, ("prefix",))
    assert [each.name for each in kernel.started] == ["a", "b", "a"]
    programs.choose(kernel.select("a", "b"), kernel.start, ("another",))
    assert [each.name for each in kernel.started] == ["a", "b", "a", "a", "b"]
    assert kernel.alive() == ["a", "b"]


def test_a_program_whose_new_files_are_bad_goes_on_with_the_old_ones(
    kernel: Kernel, programs: Programs
) -> None:
    programs.choose(kernel.select("a", "b"), kernel.start)
    (kernel.folder / "a.bpf.o").write_bytes(b"other")
    kernel.refuses = {"a"}
    programs.choose(kernel.select("a", b="b.yaml:3: bad"), kernel.start)
    assert names(programs) == ["a", "b"]
    assert programs.failed == ()
    assert [each.name for each in programs.outdated] == ["a", "b"]
    assert programs.outdated[1].reason == "b.yaml:3: bad"
    kernel.refuses = set()
    programs.choose(kernel.select("a", "b"), kernel.start)
    assert programs.outdated == ()
    assert kernel.alive() == ["b", "a"]


def test_close_frees_all_and_nothing_starts_afterwards(kernel: Kernel, programs: Programs) -> None:
    programs.choose(kernel.select("a", "b"), kernel.start)
    programs.close()
    programs.choose(kernel.select("c"), kernel.start)
    assert kernel.alive() == []
    assert len(kernel.started) == 2
