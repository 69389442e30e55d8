"""Machines to look at: folders of files, wants and answers made by hand."""

import gzip
from collections.abc import Mapping
from pathlib import Path

from exporter.doctor.machine import Answers, Clock, Machine, StateFolder
from exporter.doctor.wants import Hook, Wants
from exporter.testing import fake_host

Files = Mapping[str, str | bytes]

RELEASE = "6.1.0-test"
KERNEL: Files = {"proc/sys/kernel/osrelease": f"{RELEASE}\n"}
CONFIG = "".join(
    f"CONFIG_{name}=y\n"
    for name in (
        *("BPF_SYSCALL", "BPF_EVENTS", "BPF_JIT", "PERF_EVENTS", "TRACEPOINTS", "KPROBE_EVENTS"),
        *("UPROBE_EVENTS", "DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "MEMCG", "CFS_BANDWIDTH"),
    )
)
BTF: Files = {"sys/kernel/btf/vmlinux": b"\x9f\xeb"}
ALL_CAPABILITIES = 0x1FFFFFFFFFF
PROGRAMS = Wants(
    programs=("timers", "biolatency"),
    hooks=(
        Hook("timers", (frozenset({"tp_btf"}), frozenset({"tracepoint"}))),
        Hook("biolatency", (frozenset({"tp_btf"}), frozenset({"raw_tp"}))),
    ),
)
WELL = Answers(
    uid=0, libbpf="1.1", clock=Clock(True, 0.002), state=StateFolder(True, True, 1 << 30)
)


def wanting(program: str, *ways: str) -> Wants:
    """One program with one hook; each way is of one kind."""
    return Wants((program,), (Hook(program, tuple(frozenset({way}) for way in ways)),))


def status(capabilities: int = 0, seccomp: int = 0, gid: int = 0, groups: str = "") -> Files:
    return {
        "proc/self/status": f"Name:\tkernmesh\nGid:\t7\t{gid}\t7\t7\nGroups:\t{groups} \n"
        f"CapEff:\t{capabilities:016x}\nSeccomp:\t{seccomp}\n"
    }


def packed(config: str) -> Files:
    return {"proc/config.gz": gzip.compress(config.encode())}


def machine(
    folder: Path, files: Files, wants: Wants = PROGRAMS, answers: Answers = WELL
) -> Machine:
    return Machine(fake_host(folder, {**KERNEL, **files}), wants, answers)
