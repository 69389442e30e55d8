"""The process itself, on this kernel's own cgroups: asked, attacked, killed at the worst time."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from exporter.actuator.byhand import undo
from exporter.actuator.cgroups import Folder, Roots, hierarchies
from exporter.actuator.client import Actuator
from exporter.actuator.force import Force
from exporter.actuator.journal import JOURNAL, Journal
from exporter.actuator.protocol import (
    MOST_BYTES,
    InForce,
    Look,
    Run,
    Set,
    Start,
    Target,
    Undo,
    UndoAll,
    encode,
    read_answer,
)
from exporter.actuator.restore import Write
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from exporter.privileges.capabilities import NUMBERS, held
from tests.actuator.killing import Killed, dying_write
from tests.actuator.trees import RealCgroups, real_cgroups, wait_for_end, workers_of

pytestmark = pytest.mark.bpf
Begin = Callable[..., Actuator]


@pytest.fixture
def cgroups() -> Iterator[RealCgroups]:
    with real_cgroups() as made:
        yield made


@pytest.fixture
def begin(cgroups: RealCgroups, tmp_path: Path) -> Iterator[Begin]:
    begun: list[Actuator] = []

    def start(**settings: object) -> Actuator:
        first = Start(str(tmp_path / "state"), (cgroups.offline,), drop=True)
        actuator = Actuator(msgspec.structs.replace(first, **settings))
        actuator.start()
        begun.append(actuator)
        return actuator

    yield start
    for actuator in begun:
        actuator.close()


BEFORE = {
    ("cpu", "off", "cpu.cfs_quota_us"): "-1",
    ("cpu", "off", "cpu.shares"): "512",
    ("cpu", "off", "cpu.idle"): "0",
    ("cpu", "off/inner", "cpu.cfs_quota_us"): "150000",
    ("memory", "off", "memory.soft_limit_in_bytes"): "9223372036854771712",
}


def values(cgroups: RealCgroups) -> dict[tuple[str, str, str], str]:
    return {place: cgroups.read(*place) for place in BEFORE}


def prepare(cgroups: RealCgroups) -> None:
    for place, text in BEFORE.items():
        cgroups.file(*place).write_text(text)
    assert values(cgroups) == BEFORE


def adjust(actuator: Actuator) -> None:
    for request in (
        Set(run="a", knob="preempt"),
        Set(run="a", knob="cpu_quota", limits={"cores": 0.5}),
        Set(run="b", knob="cpu_quota", limits={"cores": 1.0}),
        Set(run="b", knob="memory_high", limits={"bytes": 64 << 20}),
    ):
        assert actuator.ask(request).refused == ""


ADJUSTED = {
    ("cpu", "off", "cpu.cfs_quota_us"): "50000",
    ("cpu", "off", "cpu.shares"): "3",
    ("cpu", "off", "cpu.idle"): "1",
    ("cpu", "off/inner", "cpu.cfs_quota_us"): "50000",
    ("memory", "off", "memory.soft_limit_in_bytes"): str(64 << 20),
}


def test_closing_puts_everything_back_and_coupled_files_too(
    cgroups: RealCgroups, begin: Begin
) -> None:
    prepare(cgroups)
    actuator = begin()
    adjust(actuator)
    assert values(cgroups) == ADJUSTED
    actuator.close()
    assert values(cgroups) == BEFORE


def test_a_quota_is_loosened_and_undone_although_v1_wants_an_order(
    cgroups: RealCgroups, begin: Begin
) -> None:
    prepare(cgroups)
    actuator = begin()
    for cores in (1.0, 0.3, 0.7, 1.4):
        answer = actuator.ask(Set(run="a", knob="cpu_quota", limits={"cores": cores}))
        assert answer.refused == ""
        for path in ("off", "off/inner"):
            assert cgroups.read("cpu", path, "cpu.cfs_quota_us") == str(int(cores * 100_000))
    assert actuator.ask(Undo(run="a")).refused == ""
    assert values(cgroups) == BEFORE


def test_what_v1_refuses_is_said_and_changes_nothing(cgroups: RealCgroups, begin: Begin) -> None:
    cgroups.file("cpu", "", "cpu.cfs_quota_us").write_text("20000")
    actuator = begin()
    answer = actuator.ask(Set(run="a", knob="cpu_quota", limits={"cores": 1.0}))
    assert answer.failed
    assert "cpu.cfs_quota_us: '100000' refused, EINVAL" in answer.refused
    assert actuator.ask(InForce()).held == ()


def test_blkio_is_limited_for_a_device_that_was_used(
    cgroups: RealCgroups, begin: Begin, tmp_path: Path
) -> None:
    read = f"echo $$ > {cgroups.file('blkio', 'off/inner', 'cgroup.procs')}; "
    read += f"dd if=/dev/zero of={tmp_path / 'file'} bs=64k count=8 oflag=direct 2>&1"
    subprocess.run(["sh", "-c", read], check=True, capture_output=True)
    actuator = begin()
    answer = actuator.ask(Set(run="a", knob="io", limits={"wbps": 1e6}))
    file = f"{cgroups.offline}/inner/blkio.throttle.write_bps_device"
    assert file in {change.file.partition("/")[2].partition("[")[0] for change in answer.changes}
    assert {change.after for change in answer.changes} == {"1000000"}
    limit = cgroups.read("blkio", "off/inner", "blkio.throttle.write_bps_device")
    assert limit.endswith(" 1000000")
    actuator.ask(Undo(run="a"))
    assert cgroups.read("blkio", "off/inner", "blkio.throttle.write_bps_device") == ""


def test_a_cgroup_removed_while_adjusted_is_forgotten(cgroups: RealCgroups, begin: Begin) -> None:
    actuator = begin()
    adjust(actuator)
    for path in ("off/inner", "off"):
        (cgroups.folders["cpu"] / cgroups.path / path).rmdir()
    (cgroups.folders["cpu"] / cgroups.path / "off").mkdir()
    cgroups.file("cpu", "off", "cpu.shares").write_text("77")
    assert actuator.ask(UndoAll()).refused == ""
    assert cgroups.read("cpu", "off", "cpu.shares") == "77"
    assert actuator.ask(InForce()).held == ()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("whom", ["keeper", "worker"])
def test_a_signal_puts_everything_back(
    cgroups: RealCgroups, begin: Begin, tmp_path: Path, number: signal.Signals, whom: str
) -> None:
    prepare(cgroups)
    actuator = begin()
    adjust(actuator)
    keeper, (worker,) = actuator.pid, workers_of(actuator.pid)
    os.kill(keeper if whom == "keeper" else worker, number)
    if number == signal.SIGTERM:
        assert wait_for_end(worker)
    until = time.monotonic() + 20
    while (tmp_path / "state" / JOURNAL).exists() and time.monotonic() < until:
        actuator.ask(InForce())
    assert values(cgroups) == BEFORE


def test_a_killed_worker_is_started_anew_and_puts_back_first(
    cgroups: RealCgroups, begin: Begin
) -> None:
    prepare(cgroups)
    actuator = begin()
    adjust(actuator)
    (worker,) = workers_of(actuator.pid)
    os.kill(worker, signal.SIGKILL)
    assert actuator.wait_for_start(2)
    assert values(cgroups) == BEFORE
    adjust(actuator)
    assert values(cgroups) == ADJUSTED


def test_a_killed_keeper_leaves_a_worker_that_still_undoes(
    cgroups: RealCgroups, begin: Begin
) -> None:
    prepare(cgroups)
    actuator = begin()
    adjust(actuator)
    (worker,) = workers_of(actuator.pid)
    os.kill(actuator.pid, signal.SIGKILL)
    actuator.close()
    assert wait_for_end(worker)
    assert values(cgroups) == BEFORE


def test_a_worker_whose_keeper_was_killed_takes_its_place(
    cgroups: RealCgroups, begin: Begin
) -> None:
    prepare(cgroups)
    actuator = begin()
    adjust(actuator)
    (first,) = workers_of(actuator.pid)
    os.kill(actuator.pid, signal.SIGKILL)
    assert actuator.wait_for_start(2)
    assert values(cgroups) == BEFORE
    adjust(actuator)
    (second,) = workers_of(first)
    os.kill(second, signal.SIGKILL)
    assert actuator.wait_for_start(3)
    assert values(cgroups) == BEFORE
    adjust(actuator)
    actuator.close()
    assert wait_for_end(first)
    assert values(cgroups) == BEFORE


def test_killing_keeper_and_worker_is_mended_by_the_agent(
    cgroups: RealCgroups, begin: Begin
) -> None:
    prepare(cgroups)
    actuator = begin()
    adjust(actuator)
    (worker,) = workers_of(actuator.pid)
    os.kill(worker, signal.SIGSTOP)  # lest it takes its keeper's place
    os.kill(actuator.pid, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    assert wait_for_end(worker)
    assert actuator.wait_for_start(2)
    assert values(cgroups) == BEFORE


@pytest.mark.parametrize("writes", range(4))
@pytest.mark.parametrize("after_write", [False, True])
def test_cpu_shares_come_back_with_cpu_idle_whenever_it_is_killed(
    cgroups: RealCgroups, tmp_path: Path, writes: int, after_write: bool
) -> None:
    """The kernel resets them on the way: writes are cpu.idle 1, cpu.idle 0, cpu.shares."""
    prepare(cgroups)

    def force(write: Write) -> tuple[Journal, Force]:
        journal = Journal(str(tmp_path), "boot")
        journal.open()
        found = hierarchies(cgroup_mounts(HostFs()))
        return journal, Force(journal, found, Roots((cgroups.offline,), False), write)

    journal, first = force(dying_write(writes, after_write))
    with suppress(Killed):
        first.set(Set(run="a", knob="preempt"))
        first.undo("a")
    journal.close()
    journal, second = force(Folder.write)
    second.take_over()
    journal.close()
    assert values(cgroups) == BEFORE


AGENT = """
import sys
from exporter.actuator.client import Actuator
from exporter.actuator.protocol import Set, Start
actuator = Actuator(Start(sys.argv[1], (sys.argv[2],)))
actuator.start()
assert not actuator.ask(Set(run="a", knob="preempt")).refused
assert not actuator.ask(Set(run="a", knob="cpu_quota", limits={"cores": 0.5})).refused
print(actuator.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [("agent",), ("agent", "worker", "keeper")])
def test_a_killed_agent_leaves_nothing_throttled(
    cgroups: RealCgroups, tmp_path: Path, killed: tuple[str, ...]
) -> None:
    prepare(cgroups)
    state = str(tmp_path / "state")
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, state, cgroups.offline],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as agent:
        assert agent.stdout is not None
        keeper = int(agent.stdout.readline())
        (worker,) = workers_of(keeper)
        assert cgroups.read("cpu", "off", "cpu.idle") == "1"
        pids = {"agent": agent.pid, "keeper": keeper, "worker": worker}
        for name in reversed(killed):
            os.kill(pids[name], signal.SIGSTOP)  # so that none sees another's end
        for name in killed:
            os.kill(pids[name], signal.SIGKILL)
        assert wait_for_end(worker)
        assert wait_for_end(keeper)
    said: list[str] = []
    if "worker" in killed:
        assert cgroups.read("cpu", "off", "cpu.idle") == "1"
        assert undo(state, HostFs(), said.append)
        assert "put back after an unclean end" in said[0]
    assert values(cgroups) == BEFORE
    assert undo(state, HostFs(), said.append)
    assert said[-1] == "nothing is in force"


def test_undo_by_hand_asks_a_running_agent(
    cgroups: RealCgroups, begin: Begin, tmp_path: Path
) -> None:
    prepare(cgroups)
    adjust(begin())
    said: list[str] = []
    assert undo(str(tmp_path / "state"), HostFs(), said.append)
    assert "put back by the running agent" in said[0]
    assert values(cgroups) == BEFORE


def test_two_actuators_never_share_a_journal(cgroups: RealCgroups, begin: Begin) -> None:
    first, second = begin(), begin()
    assert first.ask(Set(run="a", knob="preempt")).refused == ""
    refused = second.ask(Set(run="b", knob="cpu_quota", limits={"cores": 1})).refused
    assert "another process'" in refused
    first.close()
    assert second.ask(Set(run="b", knob="preempt")).refused == ""


def test_without_a_journal_nothing_is_done_but_a_dry_run_is(
    cgroups: RealCgroups, begin: Begin, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for state_dir in (None, str(tmp_path / "file/state")):
        actuator = begin(state_dir=state_dir)
        answer = actuator.ask(Set(run="a", knob="preempt"))
        assert answer.failed
        assert answer.refused
        assert cgroups.read("cpu", "off", "cpu.idle") == "0"
        assert actuator.ask(Set(run="a", knob="preempt", dry=True)).changes


def test_it_is_undone_by_itself_when_its_seconds_are_over(
    cgroups: RealCgroups, begin: Begin
) -> None:
    actuator = begin(commands={"wait": ("/bin/sleep", "0.4")})
    assert actuator.ask(Set(run="a", knob="preempt", seconds=0.2)).changes
    assert actuator.ask(Run(command="wait")).status == 0
    assert cgroups.read("cpu", "off", "cpu.idle") == "0"


FORGED = [
    Set(run="x", knob="preempt", target=Target("/")),
    Set(run="x", knob="preempt", target=Target("{on}")),
    Set(run="x", knob="preempt", target=Target("{off}/../on")),
    Set(run="x", knob="preempt", target=Target("{on}", uid="0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")),
    Set(run="x", knob="cpu_quota", target=Target("{on}"), limits={"cores": 0.01}),
    Look(knob="cpu_quota", target=Target("{on}")),
]


@pytest.mark.parametrize("request_", FORGED)
def test_a_forged_request_touches_nothing_outside_of_the_roots(
    cgroups: RealCgroups, begin: Begin, request_: Set | Look
) -> None:
    assert request_.target is not None
    path = request_.target.path.format(on=f"{cgroups.path}/on", off=cgroups.offline)
    forged = msgspec.structs.replace(
        request_, target=msgspec.structs.replace(request_.target, path=path)
    )
    answer = begin().ask(forged)
    assert answer.refused.startswith("cgroup ")
    assert cgroups.read("cpu", "on", "cpu.idle") == "0"
    assert cgroups.read("cpu", "on", "cpu.cfs_quota_us") == "-1"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"{}",
        b'{"do":"start","state_dir":"/tmp","roots":["/"]}',
        b'{"do":"set","id":1,"run":"r","knob":"cpu_quota","limits":{"cores":-1}}',
        b'{"do":"set","id":1,"run":"r","knob":"cpu_quota","limits":{"cores":1e400}}',
        b'{"do":"set","id":1,"run":"r","knob":"cpu_quota","limits":{"cpu.shares":1}}',
        b'{"do":"set","id":1,"run":"r","knob":"cpuset"}',
        b'{"do":"set","id":1,"run":"a\\nb","knob":"preempt"}',
        b'{"do":"set","id":1,"run":"r","knob":"preempt","file":"/etc/shadow"}',
        b'{"do":"move","id":1,"job":"x","processes":[[1,0]]}',
        b"[" * 60_000,
        b'{"do":"inforce","id":1,"x":"' + b"y" * MOST_BYTES + b'"}',
    ],
)
def test_what_is_no_request_is_said_and_ends_nothing(
    cgroups: RealCgroups, tmp_path: Path, data: bytes
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(20)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "exporter.actuator", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
    with process, ours:
        ours.send(encode(Start(str(tmp_path), (cgroups.offline,))))
        assert read_answer(ours.recv(MOST_BYTES)).hello
        ours.send(data)
        assert "a request was no request" in read_answer(ours.recv(MOST_BYTES)).notes[0]
        ours.send(encode(Set(id=7, run="r", knob="preempt", dry=True)))
        assert read_answer(ours.recv(MOST_BYTES)).id == 7
        ours.close()
        assert process.wait(20) == 0


def test_commands_run_only_if_configured_and_never_for_long(begin: Begin) -> None:
    actuator = begin(
        commands={
            "slo": ("/bin/echo", "42 $HOME"),
            "env": ("/usr/bin/env",),
            "hang": ("/bin/sleep", "60"),
            "loud": ("/usr/bin/yes",),
            "bad": ("/bin/false",),
            "none": ("/no/such/program",),
        }
    )
    assert actuator.ask(Run(command="slo")).output == "42 $HOME\n"
    assert actuator.ask(Run(command="bad")).status == 1
    assert set(actuator.ask(Run(command="env")).output.split()) >= {"LANG=C.UTF-8"}
    assert "SECRET" not in actuator.ask(Run(command="env")).output
    for name, seconds, why in (
        ("hang", 0.1, "was not done in time"),
        ("loud", 60, "said more than"),
        ("none", 60, "No such file"),
        ("/bin/sh", 60, "none of that name"),
    ):
        assert why in actuator.ask(Run(command=name, seconds=seconds)).refused


def test_a_command_that_runs_keeps_nobody_waiting(cgroups: RealCgroups, begin: Begin) -> None:
    actuator = begin(commands={"hang": ("/bin/sleep", "60")})
    ended: list[str] = []
    asking = threading.Thread(
        target=lambda: ended.append(actuator.ask(Run(command="hang", seconds=60)).refused)
    )
    asking.start()
    assert actuator.ask(Set(run="a", knob="preempt")).changes
    actuator.close()
    asking.join()
    assert ended[0]
    assert cgroups.read("cpu", "off", "cpu.idle") == "0"


@pytest.fixture
def freezer() -> Iterator[Path]:
    """A cgroup in which nobody dies until it is thawed (v1: cgroup-v1/freezer-subsystem.rst)."""
    folder = Path(f"/sys/fs/cgroup/freezer/kernmesh-test-{os.getpid()}")
    folder.mkdir()
    yield folder
    (folder / "freezer.state").write_text("THAWED")
    for pid in (folder / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            wait_for_end(int(pid))
    folder.rmdir()


def test_a_command_that_cannot_be_killed_keeps_nobody_waiting(
    cgroups: RealCgroups, begin: Begin, freezer: Path
) -> None:
    script = f"echo $$ > {freezer}/cgroup.procs; echo FROZEN > {freezer}/freezer.state; sleep 60"
    actuator = begin(commands={"hang": ("/bin/sh", "-c", script)})
    assert "was not done in time" in actuator.ask(Run(command="hang", seconds=0.5)).refused
    assert actuator.ask(Set(run="a", knob="preempt")).changes
    assert (freezer / "cgroup.procs").read_text()
    actuator.close()
    assert cgroups.read("cpu", "off", "cpu.idle") == "0"


def test_the_journal_is_written_before_the_first_change(
    cgroups: RealCgroups, begin: Begin, tmp_path: Path
) -> None:
    actuator = begin()
    actuator.ask(Set(run="a", knob="preempt"))
    text = (tmp_path / "state" / JOURNAL).read_text()
    inode = cgroups.file("cpu", "off", "").stat().st_ino
    for word in (str(inode), "cpu.idle", "cpu.shares", cgroups.offline):
        assert word in text


def test_the_command_undoes_by_a_state_directory_and_says_so_in_its_exit_code(
    cgroups: RealCgroups, begin: Begin, tmp_path: Path
) -> None:
    prepare(cgroups)
    adjust(begin())
    kernmesh = [sys.executable, "-m", "exporter.cli", "undo"]
    config = tmp_path / "agent.yaml"
    config.write_text(f"usage: {{state_dir: {tmp_path}/state}}")
    for flags in (["--config", str(config)], ["--state-dir", str(tmp_path / "none")]):
        done = subprocess.run([*kernmesh, *flags], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == 1
    assert values(cgroups) == BEFORE


def test_it_keeps_but_what_writing_cgroups_takes(begin: Begin) -> None:
    actuator = begin()
    for pid in (actuator.pid, *workers_of(actuator.pid)):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        kept = {NUMBERS[name] for name in ("CAP_DAC_OVERRIDE", "CAP_SYS_NICE")}
        assert held(status).usable == held(status).bounding == kept
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
