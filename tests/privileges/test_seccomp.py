"""The filter, run call by call for both machines that it is made for."""

import pytest

from exporter.decoders.syscall_names import names
from exporter.privileges.seccomp import (
    ALLOW,
    AUDIT_ARCH,
    FAMILIES,
    FORKING,
    MAP_COMMANDS,
    REFUSED,
    Instruction,
    Wants,
    packed,
    program,
)
from tests.privileges.machine import Call, verdict

EPERM, ENOSYS = 0x00050001, 0x00050026
MACHINES = tuple(AUDIT_ARCH)
SIGCHLD, VM, THREAD, NEWNS, NEWUSER = 17, 0x100, 0x10000, 0x20000, 0x10000000
PTHREAD = 0x3D0F00 | THREAD
OTHER_COMMANDS = sorted(set(range(40)) - set(MAP_COMMANDS.values()))


def numbers(machine: str) -> dict[str, int]:
    return {name: number for number, name in names(machine).items()}


def made(machine: str, maps: bool = True) -> list[Instruction]:
    return program(machine, numbers(machine), Wants(maps=maps))


def asked(machine: str, name: str, *arguments: int, maps: bool = True) -> int:
    return verdict(
        made(machine, maps), Call(numbers(machine)[name], AUDIT_ARCH[machine], arguments)
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_each_listed_call_is_refused_and_every_other_is_allowed(machine: str) -> None:
    by_argument = {"clone", "clone3", "socket", "bpf", "open_by_handle_at"}
    for name in numbers(machine).keys() - by_argument:
        assert asked(machine, name) == (EPERM if name in (*REFUSED, *FORKING) else ALLOW), name


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "want"),
    [
        ("clone", (PTHREAD,), ALLOW),
        ("clone", (SIGCHLD,), EPERM),
        ("clone", (VM | SIGCHLD,), EPERM),
        ("clone", (PTHREAD | NEWNS,), EPERM),
        ("clone", (PTHREAD | NEWUSER,), EPERM),
        ("clone3", (), ENOSYS),
        ("open_by_handle_at", (3, 0, 0o10000000), ALLOW),
        ("open_by_handle_at", (3, 0, 0o12000000), ALLOW),
        ("open_by_handle_at", (3, 0, 0), EPERM),
        ("open_by_handle_at", (3, 0, 0o2), EPERM),
        *(("socket", (family, 1), ALLOW) for family in FAMILIES.values()),
        ("socket", (17, 3), EPERM),  # AF_PACKET
        ("socket", (38, 5), EPERM),  # AF_ALG
        ("socket", (1 << 32 | 17, 3), EPERM),
        *(("bpf", (command,), ALLOW) for command in MAP_COMMANDS.values()),
        *(("bpf", (command,), EPERM) for command in OTHER_COMMANDS),
        ("bpf", (1 << 32 | 5,), EPERM),  # the kernel takes an int
    ],
)  # fmt: skip
def test_some_are_judged_by_what_they_are_asked(
    machine: str, name: str, arguments: tuple[int, ...], want: int
) -> None:
    assert asked(machine, name, *arguments) == want


@pytest.mark.parametrize("machine", MACHINES)
def test_who_reads_no_maps_gets_no_bpf_at_all(machine: str) -> None:
    assert {asked(machine, "bpf", command, maps=False) for command in range(40)} == {EPERM}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_actuator_forks_and_makes_no_sockets(machine: str) -> None:
    filter_ = program(machine, numbers(machine), Wants(processes=True, network=False))

    def ask(name: str, *arguments: int) -> int:
        return verdict(filter_, Call(numbers(machine)[name], AUDIT_ARCH[machine], arguments))

    assert ask("clone", SIGCHLD) == ALLOW
    assert ask("clone", SIGCHLD | NEWUSER) == EPERM
    assert {ask("socket", family) for family in FAMILIES.values()} == {EPERM}
    assert ask("execve") == EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("arch", [0, 0x40000003, *AUDIT_ARCH.values()])
def test_calls_by_another_machine_s_numbers_are_refused(machine: str, arch: int) -> None:
    want = ALLOW if arch == AUDIT_ARCH[machine] else EPERM
    assert verdict(made(machine), Call(numbers(machine)["read"], arch)) == want


def test_the_x32_abi_is_no_way_round() -> None:
    calls = (0, numbers("x86_64")["execve"], numbers("x86_64")["bpf"])
    for number in calls:
        assert verdict(made("x86_64"), Call(0x40000000 | number, AUDIT_ARCH["x86_64"])) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_every_name_is_a_call_of_some_machine_and_the_program_fits(machine: str) -> None:
    known = {name for each in MACHINES for name in numbers(each)}
    assert {*REFUSED, *FORKING} <= known
    assert len(packed(made(machine))) == 8 * len(made(machine)) < 8 * 4096
