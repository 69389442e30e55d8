"""What this process may do, for an agent that is started as it was (docs/privileges.md)."""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.doctor.wants import named
from exporter.ebpf.features import (
    CAP_BPF,
    CAP_NET_ADMIN,
    CAP_NET_RAW,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    effective_capabilities,
    may_use_bpf,
)

SUBJECT = "capabilities"
_NAMES = {
    CAP_BPF: "CAP_BPF",
    CAP_PERFMON: "CAP_PERFMON",
    CAP_SYS_ADMIN: "CAP_SYS_ADMIN",
    CAP_NET_RAW: "CAP_NET_RAW",
    CAP_NET_ADMIN: "CAP_NET_ADMIN",
}
_TO_NETWORK = frozenset(("xdp", "tc", "tcx", "classifier"))
_SECCOMP_FILTERS = "2"  # SECCOMP_MODE_FILTER


def check(machine: Machine) -> Line:
    status = machine.text("self/status")
    held = effective_capabilities(status) if status else None
    if status is None or held is None:
        return Line(SUBJECT, "unknown", "/proc/self/status cannot be read")
    wants = machine.wants
    shown = " ".join(name for number, name in _NAMES.items() if number in held) or "none of them"
    found = f"uid {machine.answers.uid}: {shown}"
    if seccomp(status) == _SECCOMP_FILTERS:
        found += "; a seccomp filter is on"
    if not may_use_bpf(held):
        mend = "ask as root, or grant CAP_BPF and CAP_PERFMON (kernels before 5.8: CAP_SYS_ADMIN)"
        return Line(SUBJECT, "missing", found, mend, wants.by_programs())
    without_network = wants.lost(_TO_NETWORK)
    if without_network and CAP_NET_ADMIN not in held:
        mend = "grant CAP_NET_ADMIN, for programs at network devices"
        return Line(SUBJECT, "missing", found, mend, named(without_network))
    return Line(SUBJECT, "ok", found)


def seccomp(status: str) -> str:
    """The mode's number, "" where the kernel has none."""
    lines = (line for line in status.splitlines() if line.startswith("Seccomp:"))
    return next(lines, "").removeprefix("Seccomp:").strip()
