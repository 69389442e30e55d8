"""syscalls against calls that nobody else makes, a known number of them."""

import os
import platform
import struct
import subprocess
import uuid
from pathlib import Path

import pytest

from exporter.decoders.errno import rewrite as errno_name
from exporter.decoders.syscall import Syscall
from exporter.ebpf.loaded import KernelProgram
from tests.kernel.conftest import Load, counts
from tests.kernel.quiet import least
from tests.kernel.tasks import by_way

pytestmark = pytest.mark.bpf

WAYS = {"tp_btf": ("enter_btf", "exit_btf"), "raw_tp": ("enter_raw", "exit_raw")}
COMPAT = 0x10000


def calls(program: KernelProgram) -> dict[str, int]:
    name = Syscall().rewrite
    return {
        name(str(struct.unpack("=I", key)[0])): value
        for key, value in counts(program, "syscalls_total").items()
    }


def errors(program: KernelProgram) -> dict[str, int]:
    return {
        errno_name(str(struct.unpack("=I", key)[0])): value
        for key, value in counts(program, "syscall_errors_total").items()
    }


@pytest.mark.parametrize("way", WAYS)
def test_syscalls_counts_each_call_and_each_error_by_name(
    shipped: Path, loaded: Load, way: str, tmp_path: Path
) -> None:
    running = loaded(by_way(shipped, "syscalls", *WAYS[way]))
    source, target = tmp_path / "a", Path("/dev/shm") / f"kernmesh-{uuid.uuid4()}"
    source.touch()

    def call() -> None:
        for _ in range(3000):
            os.sched_rr_get_interval(0)

    def fail() -> None:
        for _ in range(777):
            with pytest.raises(OSError, match="cross-device"):
                os.link(source, target)

    assert least(lambda: calls(running), call, rounds=5)["sched_rr_get_interval"] == 3000
    assert least(lambda: errors(running), fail, rounds=5)["EXDEV"] == 777
    assert running.refused_updates() == {"syscalls_total": 0, "syscall_errors_total": 0}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is x86's")
@pytest.mark.parametrize("way", WAYS)
def test_32_bit_calls_do_not_go_by_the_64_bit_names_of_their_numbers(
    shipped: Path, loaded: Load, way: str, tmp_path: Path
) -> None:
    # 156 is sched_setscheduler there, and sysctl (which is gone) here
    source, binary = tmp_path / "compat.c", tmp_path / "compat"
    source.write_text(
        "int main(void) { for (int i = 0; i < 500; i++) { long r;"
        ' __asm__ volatile("int $0x80" : "=a"(r) : "a"(156), "b"(-1) : "memory"); }'
        " return 0; }\n"
    )
    subprocess.run(["gcc", "-o", binary, source], check=True)
    running = loaded(by_way(shipped, "syscalls", *WAYS[way]))
    subprocess.run([binary], check=True)
    found = counts(running, "syscalls_total")
    assert found[struct.pack("=I", COMPAT + 156)] == 500
    assert struct.pack("=I", 156) not in found
