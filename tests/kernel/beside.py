"""One program loaded twice at once, first as this kernel has it best, then in another way, under
one load: `python -m tests.kernel.beside '{"program": …}'` says what each has counted.

A process of its own, in mounts of its own: so a kernel can be made to look as if it had no BTF.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from exporter.ebpf import backends, kernel
from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.start import metrics_of
from exporter.errors import BpfError
from tests.kernel.conftest import ROOT, numbers, shipped_program
from tests.kernel.tasks import cpu_cgroup
from tests.kernel.workloads import memory_cgroup, start_keepalive_timers

MOUNT = "mountpoint -q /sys/kernel/tracing || mount -t tracefs nodev /sys/kernel/tracing"
IN_PRIVATE = ("unshare", "--mount", "sh", "-ec", f'{MOUNT}; exec "$@"', "sh")


class Outcome(NamedTuple):
    """Of the second: the ELF sections taken, or why none is; problems though it runs. `counted`
    is by map and key (hex) what the first and the second have added under the load."""

    taken: list[str]
    error: str | None
    problems: list[str]
    counted: dict[str, dict[str, list[int]]]

    def totals(self, name: str) -> list[int]:
        return [sum(both) for both in zip(*self.counted[name].values(), strict=True)]


def beside(program: str, hide_btf: bool = False, **options: Any) -> Outcome:
    """Runs it; `options` are of kernel.Options, for the second."""
    wanted = json.dumps({"program": program, "hide_btf": hide_btf, "options": options})
    done = subprocess.run(
        [*IN_PRIVATE, sys.executable, "-m", "tests.kernel.beside", wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def _system_calls() -> None:
    for _ in range(20_000):
        os.getppid()
    with socket.socket() as never:
        for _ in range(5_000):
            never.connect_ex(("127.0.0.1", 1))


def _memory_runs_out() -> None:
    for _ in range(3):
        with memory_cgroup() as group:
            group.run_out()


def _allocations() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    for _ in range(20_000):
        libc.free(libc.malloc(32))


LOADS: Mapping[str, Callable[[], None]] = {
    "timers": lambda: start_keepalive_timers(20_000),
    "raw-tracepoints": lambda: start_keepalive_timers(20_000),
    "syscalls": _system_calls,
    "oomkill": _memory_runs_out,
    "uprobe": _allocations,
}


# Everybody calls malloc all the time: what counts is what is done in a cgroup of its own.
BY_CGROUP = frozenset(("uprobe",))


def _main(program: str, hide_btf: bool, options: dict[str, Any]) -> Outcome:
    if program not in BY_CGROUP:
        return _both(program, hide_btf, options)
    with cpu_cgroup() as own:
        (own.path / "cgroup.procs").write_text("0")
        try:
            outcome = _both(program, hide_btf, options)
        finally:
            (own.path.parent / "cgroup.procs").write_text("0")
        key = own.key.hex()
        counted = {name: {key: found[key]} for name, found in outcome.counted.items()}
        return outcome._replace(counted=counted)


def _both(program: str, hide_btf: bool, options: dict[str, Any]) -> Outcome:
    found = shipped_program(ROOT / "bpf", program)
    first = kernel.load(found)
    if hide_btf:
        subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/kernel/btf"], check=True)
    try:
        second = backends.load(found, kernel.Options(**options))
    except BpfError as error:
        return Outcome([], str(error), [], {})
    names = [each.name for each in metrics_of(found.spec)]
    before = [_counts(each, names) for each in (first, second)]
    LOADS[program]()
    after = [_counts(each, names) for each in (first, second)]
    taken = [section for hook in second.hooks for section in hook.taken or ()]
    return Outcome(taken, None, list(second.problems), _differences(before, after))


_Counts = dict[str, dict[str, int]]


def _counts(program: KernelProgram, names: Sequence[str]) -> _Counts:
    """Of the maps that are metrics: those that count. Keys in hex."""
    return {
        name: {key.hex(): sum(values[:-1]) or values[0] for key, values in found.items()}
        for name, found in ((name, numbers(program, name)) for name in names)
    }


def _differences(before: list[_Counts], after: list[_Counts]) -> dict[str, dict[str, list[int]]]:
    return {
        name: {
            key: [
                now[name].get(key, 0) - then[name].get(key, 0)
                for then, now in zip(before, after, strict=True)
            ]
            for key in after[0][name].keys() | after[1][name].keys()
        }
        for name in after[0]
    }


if __name__ == "__main__":
    print(json.dumps(_main(**json.loads(sys.argv[1]))._asdict()))
