"""What is in force, on folders of files: any write can be refused, and any be the last one."""

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.actuator.cgroups import Folder, Hierarchy, NotAllowed, Roots
from exporter.actuator.force import Force
from exporter.actuator.journal import JOURNAL, Journal
from exporter.actuator.knobs import Unfit
from exporter.actuator.protocol import Answer, Knob, Set, Target
from exporter.wholefile import beside
from tests.actuator.killing import Killed, dying_write
from tests.actuator.trees import UNLIMITED, V1_CPU, V2, make

BOOT = "11111111-2222-3333-4444-555555555555"
ROOT = "kubepods/besteffort"


class Machine:
    """One hierarchy as files, with a journal beside it."""

    def __init__(self, folder: Path, version: int, files: dict[str, str] | None = None) -> None:
        self.folder, self.version = folder / "cgroup", version
        self.state = folder / "state"
        self.cgroup = make(self.folder, ROOT, files or (V2 if version == 2 else V1_CPU))

    def force(self, write: Callable[[Folder, str, str], None] = Folder.write) -> Force:
        self.journal = Journal(str(self.state), BOOT)
        self.journal.open()
        found = {
            name: Hierarchy(name, self.version, str(self.folder))
            for name in ("cpu", "memory", "io")
        }
        return Force(self.journal, found, Roots((ROOT,), False), write)

    def values(self) -> dict[str, str]:
        return {
            file.name: file.read_text().strip() for file in self.cgroup.iterdir() if file.is_file()
        }

    def values_of_all(self, inner: Path) -> dict[str, str]:
        within = {f"inner/{file.name}": file.read_text().strip() for file in inner.iterdir()}
        return self.values() | within | ({} if "io.max" in self.values() else {"io.max": ""})

    def remove(self) -> None:
        for file in self.cgroup.iterdir():
            file.unlink()
        self.cgroup.rmdir()

    def again(self) -> list[str]:
        """What the next actuator finds and does."""
        self.journal.close()
        return self.force().take_over()


def ask(run: str = "r", knob: Knob = "cpu_quota", dry: bool = False, **limits: float) -> Set:
    return Set(run=run, knob=knob, limits=limits, dry=dry)


KNOBS: list[tuple[int, Set, dict[str, str]]] = [
    (1, ask(cores=1.5), {"cpu.cfs_quota_us": "150000"}),
    (1, ask(cores=0.001), {"cpu.cfs_quota_us": "1000"}),
    (1, ask(knob="preempt"), {"cpu.idle": "1"}),
    (2, ask(cores=1.5), {"cpu.max": "150000 100000"}),
    (2, ask(knob="preempt"), {"cpu.idle": "1"}),
    (2, ask(knob="memory_high", bytes=1e9), {"memory.high": "999997440"}),
    (2, ask(knob="io", rbps=1e6), {"io.max": "254:0 rbps=1000000 wbps=max riops=max wiops=max"}),
]


@pytest.mark.parametrize(("version", "request_", "expected"), KNOBS)
def test_each_knob_is_set_and_put_back(
    tmp_path: Path, version: int, request_: Set, expected: dict[str, str]
) -> None:
    machine = Machine(tmp_path, version)
    force, before = machine.force(), machine.values()
    answer = force.set(request_)
    assert machine.values() == before | expected
    assert [change.after for change in answer.changes]
    undone = force.undo("r")
    assert {**machine.values(), "io.max": ""} == {**before, "io.max": ""}
    assert len(undone.changes) == len(answer.changes)
    assert not (machine.state / JOURNAL).exists()


@pytest.mark.parametrize(("version", "request_", "expected"), KNOBS)
def test_a_dry_request_says_the_same_and_writes_nothing(
    tmp_path: Path, version: int, request_: Set, expected: dict[str, str]
) -> None:
    machine = Machine(tmp_path, version)
    force, before = machine.force(), machine.values()
    dry = force.set(Set(run="r", knob=request_.knob, limits=request_.limits, dry=True))
    assert machine.values() == before
    assert not (machine.state / JOURNAL).exists()
    assert dry.changes == force.set(request_).changes


@pytest.mark.parametrize(
    ("version", "files", "knob", "limits"),
    [
        (1, {**V1_CPU, "cpu.cfs_quota_us": "50000"}, "cpu_quota", {"cores": 1.0}),
        (2, {**V2, "cpu.max": "50000 100000"}, "cpu_quota", {"cores": 1.0}),
        (2, {**V2, "memory.high": "1048576"}, "memory_high", {"bytes": 2e6}),
        (2, {**V2, "cpu.idle": "1"}, "preempt", {}),
        (2, {**V2, "io.stat": ""}, "io", {"rbps": 1.0}),
    ],
)
def test_what_is_as_strict_already_is_left_as_it_is(
    tmp_path: Path, version: int, files: dict[str, str], knob: Knob, limits: dict[str, float]
) -> None:
    machine = Machine(tmp_path, version, files)
    force, before = machine.force(), machine.values()
    assert force.set(Set(run="r", knob=knob, limits=limits)).changes == ()
    assert machine.values() == before


def test_a_kernel_without_cpu_idle_gets_the_least_weight(tmp_path: Path) -> None:
    for version, file, least in ((1, "cpu.shares", "2"), (2, "cpu.weight", "1")):
        files = {name: text for name, text in {**V1_CPU, **V2}.items() if name != "cpu.idle"}
        machine = Machine(tmp_path / str(version), version, files)
        machine.force().set(ask(knob="preempt"))
        assert machine.values()[file] == least


def test_qos_level_is_set_once_and_never_taken_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 1, {**V1_CPU, "cpu.qos_level": "0"})
    force = machine.force()
    assert [each.after for each in force.set(ask(knob="preempt")).changes] == ["-1"]
    assert force.set(ask(knob="preempt")).changes == ()
    assert force.undo("r").changes == ()
    assert machine.values()["cpu.qos_level"] == "-1"
    assert machine.values()["cpu.idle"] == "0"


def test_of_two_runs_the_strictest_is_in_force_until_it_is_over(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 2)
    force = machine.force()
    seen = []
    steps: list[Callable[[], Answer]] = [
        lambda: force.set(ask("a", cores=1.5)),
        lambda: force.set(ask("b", cores=0.5)),
        lambda: force.set(ask("a", cores=1.0)),
        lambda: force.undo("b"),
        lambda: force.undo("a"),
    ]
    for step in steps:
        step()
        seen.append(machine.values()["cpu.max"].split()[0])
    assert seen == ["150000", "50000", "50000", "100000", "max"]


def test_a_value_that_somebody_else_set_is_left_alone_and_said(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 2)
    force = machine.force()
    force.set(ask(cores=1))
    (machine.cgroup / "cpu.max").write_text("70000 100000\n")
    answer = force.undo("r")
    assert machine.values()["cpu.max"] == "70000 100000"
    assert "somebody else set it to 70000 100000" in answer.notes[0]
    assert force.held() == ()


def test_a_run_does_not_fight_whoever_sets_it_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 2)
    force = machine.force()
    force.set(ask(cores=1))
    (machine.cgroup / "cpu.max").write_text("max 100000\n")
    for cores in (0.8, 0.6):
        answer = force.set(ask(cores=cores))
        assert answer.changes == ()
        assert "left alone" in answer.notes[0]
    assert machine.values()["cpu.max"] == "max 100000"
    force.undo("r")
    assert force.set(ask("later", cores=1)).changes != ()


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EPERM, errno.EINVAL])
def test_a_refused_write_takes_the_whole_request_back(tmp_path: Path, number: int) -> None:
    machine = Machine(tmp_path, 1)
    inner = make(machine.folder, f"{ROOT}/inner", {**V1_CPU, "cpu.cfs_quota_us": "180000"})

    def write(folder: Folder, file: str, text: str) -> None:
        if folder.path == ROOT:
            raise OSError(number, os.strerror(number))
        folder.write(file, text)

    force, before = machine.force(write), machine.values_of_all(inner)
    with pytest.raises(OSError, match=errno.errorcode[number]):
        force.set(ask(cores=1))
    assert machine.values_of_all(inner) == before
    assert force.held() == ()
    assert not (machine.state / JOURNAL).exists()


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EPERM])
def test_what_cannot_be_put_back_yet_stays_written_down_and_is_tried_again(
    tmp_path: Path, number: int
) -> None:
    machine = Machine(tmp_path, 2)
    refusing = [False]

    def write(folder: Folder, file: str, text: str) -> None:
        if refusing[0]:
            raise OSError(number, os.strerror(number))
        folder.write(file, text)

    force, before = machine.force(write), machine.values()
    force.set(ask(cores=1))
    refusing[0] = True
    assert "not put back yet" in force.undo("r").notes[0]
    assert (machine.state / JOURNAL).exists()
    assert force.try_again() == []
    refusing[0] = False
    assert "put back at last" in force.try_again()[0]
    assert machine.values() == before
    assert not (machine.state / JOURNAL).exists()


def test_what_cannot_be_written_down_when_a_run_ends_keeps_nothing_else_in_force(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path, 2)
    force = machine.force()
    force.set(ask("a", cores=0.5))
    force.set(ask("a", knob="preempt"))
    force.set(ask("b", cores=1.0))
    in_the_way = beside(machine.state / JOURNAL)
    (in_the_way / "full").mkdir(parents=True)
    answer = force.undo("a")
    assert "no journal, no change" in answer.notes[0]
    assert machine.values()["cpu.idle"] == "0"  # nobody else wanted it
    assert machine.values()["cpu.max"] == "50000 100000"  # looser than is written down, never
    assert force.try_again() == []
    (in_the_way / "full").rmdir()
    in_the_way.rmdir()
    assert "cpu.max 50000 100000 → 100000 100000" in force.try_again()[0]
    assert force.try_again() == []
    assert [held.runs for held in force.held()] == [("b",)]
    force.undo("b")
    assert machine.values()["cpu.max"] == "max 100000"
    assert not (machine.state / JOURNAL).exists()


def test_a_cgroup_that_goes_while_all_below_are_set_hides_none_of_the_others(
    tmp_path: Path,
) -> None:
    files = {
        "blkio.throttle.read_bps_device": "",
        "blkio.throttle.io_service_bytes": "254:0 Read 4096",
    }
    machine = Machine(tmp_path, 1, files)
    make(machine.folder, f"{ROOT}/going", {})  # open still, its files are gone
    there = make(machine.folder, f"{ROOT}/there", files)
    assert machine.force().set(ask(knob="io", rbps=1e6)).changes
    assert (there / "blkio.throttle.read_bps_device").read_text() == "254:0 1000000\n"


def test_where_not_all_can_be_opened_at_once_nothing_is_changed_and_that_is_said(
    tmp_path: Path,
) -> None:
    files = {**V1_CPU, "cpu.cfs_quota_us": "180000"}
    machine = Machine(tmp_path, 1)
    for number in range(100):
        inner = make(machine.folder, f"{ROOT}/{number:03}", files)
    force, before = machine.force(), machine.values_of_all(inner)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            force.set(ask(cores=1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert machine.values_of_all(inner) == before


def test_no_number_of_runs_makes_the_journal_grow_without_bound(tmp_path: Path) -> None:
    force = Machine(tmp_path, 2).force()
    with pytest.raises(NotAllowed, match="256 runs"):
        for number in range(257):
            force.set(ask(str(number), cores=1))


def test_a_cgroup_that_is_removed_while_adjusted_leaves_nothing_behind(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 2)
    force = machine.force()
    force.set(ask(cores=1))
    machine.remove()
    assert force.undo("r") == Answer(0)
    assert force.held() == ()
    assert not (machine.state / JOURNAL).exists()


def test_a_cgroup_made_anew_under_the_old_name_is_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 2)
    force = machine.force()
    force.set(ask(cores=1))
    machine.cgroup.rename(machine.cgroup.with_name("old"))  # so that its inode is not used again
    make(machine.folder, ROOT, {**V2, "cpu.max": "100000 100000"})
    answer = force.undo("r")
    assert machine.values()["cpu.max"] == "100000 100000"
    assert "another cgroup by now" in answer.notes[0]
    assert force.set(ask("new", cores=0.5)).changes != ()


def test_another_inode_than_the_asker_saw_is_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 2)
    inode = machine.cgroup.stat().st_ino
    force = machine.force()
    with pytest.raises(NotAllowed, match="another one than was meant"):
        force.set(
            Set(run="r", knob="preempt", target=Target(ROOT, inode=inode + 1), limits={}, dry=True)
        )
    assert force.set(Set(run="r", knob="preempt", target=Target(ROOT, inode=inode))).changes


def test_a_cgroup_without_the_file_is_refused_with_its_name(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 2, {"cpu.max": "max 100000"})
    with pytest.raises(Unfit, match=r"memory\.high"):
        machine.force().set(ask(knob="memory_high", bytes=1e9))


REQUESTS: list[tuple[int, list[Callable[[Force], object]]]] = [
    (1, [lambda f: f.set(ask(cores=1.0)), lambda f: f.set(ask(cores=0.5)), lambda f: f.undo("r")]),
    (1, [lambda f: f.set(ask(knob="preempt")), lambda f: f.undo("r")]),
    (
        2,
        [
            lambda f: f.set(ask("a", cores=1.0)),
            lambda f: f.set(ask("b", cores=0.5)),
            lambda f: f.undo("b"),
            lambda f: f.undo_all(),
        ],
    ),
    (2, [lambda f: f.set(ask(knob="io", rbps=1e6, wbps=2e6)), lambda f: f.undo("r")]),
]


@pytest.mark.parametrize("last_save", range(8))
@pytest.mark.parametrize("after_write", [False, True])
@pytest.mark.parametrize(("version", "steps"), REQUESTS)
def test_whenever_it_is_killed_the_next_one_puts_back_what_was_there(
    tmp_path: Path,
    version: int,
    steps: list[Callable[[Force], object]],
    after_write: bool,
    last_save: int,
) -> None:
    machine = Machine(tmp_path, version)
    make(machine.folder, f"{ROOT}/inner", {**V1_CPU, "cpu.cfs_quota_us": "180000"})
    inner = machine.cgroup / "inner"
    before = machine.values_of_all(inner)
    force = machine.force(dying_write(last_save, after_write))
    try:
        for step in steps:
            step(force)
    except Killed:
        pass
    machine.again()
    after = machine.values_of_all(inner)
    for values in (before, after):  # an io.max of plain files keeps its last line
        if values["io.max"].endswith("rbps=max wbps=max riops=max wiops=max"):
            values["io.max"] = ""
    assert after == before
    assert not (machine.state / JOURNAL).exists()


def test_memory_v1_is_the_soft_limit(tmp_path: Path) -> None:
    files = {"memory.soft_limit_in_bytes": UNLIMITED, "memory.limit_in_bytes": UNLIMITED}
    machine = Machine(tmp_path, 1, files)
    force = machine.force()
    force.set(ask(knob="memory_high", bytes=1e9))
    assert machine.values()["memory.soft_limit_in_bytes"] == "999997440"
    force.undo("r")
    assert machine.values()["memory.soft_limit_in_bytes"] == UNLIMITED


def test_blkio_limits_each_cgroup_below_for_itself(tmp_path: Path) -> None:
    files = {
        "blkio.throttle.read_bps_device": "",
        "blkio.throttle.io_service_bytes": "254:0 Read 4096\n254:0 Write 0\nTotal 4096",
    }
    machine = Machine(tmp_path, 1, files)
    inner = make(machine.folder, f"{ROOT}/pod/box", files)
    make(machine.folder, f"{ROOT}/pod", {**files, "blkio.throttle.io_service_bytes": "Total 0"})
    force = machine.force()
    force.set(ask(knob="io", rbps=1e6))
    for cgroup in (machine.cgroup, inner):
        assert (cgroup / "blkio.throttle.read_bps_device").read_text() == "254:0 1000000\n"
    force.undo("r")
    for cgroup in (machine.cgroup, inner):
        assert (cgroup / "blkio.throttle.read_bps_device").read_text() == "254:0 0\n"
