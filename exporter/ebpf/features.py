"""Why this machine refuses BPF, in one line that says what to do. Asked only after a refusal.

Three-valued: a reason, None where this is not the cause, and silence about what cannot be known.
"""

import errno
import os
from pathlib import Path

from exporter.ebpf.libbpf import Libbpf, LibbpfError
from exporter.hostfs import HostFs

# include/uapi/linux/capability.h
CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 12, 13, 21, 38, 39


def no_bpf(lib: Libbpf, host: HostFs) -> str | None:
    """Why not even the smallest program loads."""
    try:
        lib.try_trivial_program()
    except LibbpfError as error:
        if error.errno == errno.ENOSYS:
            return "this kernel has no bpf() system call, want one built with CONFIG_BPF_SYSCALL"
        if error.errno != errno.EPERM:
            return f"the kernel takes no BPF program at all ({error})"
    else:
        # Unprivileged processes may load the trivial one where the machine allows that.
        if _capable():
            return None
    if not _capable():
        return (
            f"not permitted: BPF needs root, or CAP_BPF and CAP_PERFMON; this process runs as "
            f"uid {os.geteuid()} without them: start it as root"
        )
    mode = lockdown(host)
    because = f"lockdown is {mode}" if mode else "lockdown, an LSM or a container's seccomp filter"
    return f"not permitted although this process has the capabilities ({because})"


def _capable(status: Path = Path("/proc/thread-self/status")) -> bool:
    """Of this thread: others may have let go of theirs."""
    return may_use_bpf(effective_capabilities(status.read_text()) or frozenset())


def effective_capabilities(status: str) -> frozenset[int] | None:
    """Their numbers, from the text of /proc/<pid>/status; None where it does not say.
    Kernel: fs/proc/array.c task_cap()."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            return frozenset(bit for bit in range(effective.bit_length()) if effective >> bit & 1)
    return None


def may_use_bpf(capabilities: frozenset[int]) -> bool:
    """Whether they are enough to load programs that trace the kernel."""
    return CAP_SYS_ADMIN in capabilities or {CAP_BPF, CAP_PERFMON} <= capabilities


def no_kernel_btf(host: HostFs) -> str | None:
    file = host.sys / "kernel/btf/vmlinux"
    if file.exists():
        return None
    return (
        f"this kernel carries no BTF ({file} is missing), want one built with "
        "CONFIG_DEBUG_INFO_BTF, or a BTF file named as ebpf.btf in agent.yaml"
    )


def btf_to_name(host: HostFs) -> str | None:
    """The kernel's own BTF as a file for libbpf, where it may not look for more: without a file it
    asks for the modules' BTF too, which takes CAP_SYS_ADMIN (kernel/bpf/syscall.c,
    BPF_BTF_GET_FD_BY_ID), and what relocates is refused with it. None: libbpf finds all itself."""
    file = host.sys / "kernel/btf/vmlinux"
    status = Path("/proc/thread-self/status").read_text()
    if CAP_SYS_ADMIN in (effective_capabilities(status) or ()) or not file.exists():
        return None
    return str(file)


_PMUS = ("cpu", "cpu_core", "armv8_*", "armv9_*", "apple_*_pmu")


def hardware_counters(host: HostFs) -> bool:
    """Whether the CPUs' are to be had: many virtual machines have none. The names are those of
    arch/x86/events/core.c, drivers/perf/arm_pmuv3.c and apple_m1_cpu_pmu.c."""
    devices = host.sys / "bus/event_source/devices"
    return any(True for name in _PMUS for _ in devices.glob(name))


def no_tracefs(host: HostFs) -> str | None:
    if tracefs(host) is not None:
        return None
    return "tracefs is not mounted: mount -t tracefs nodev /sys/kernel/tracing"


_TRACEFS = ("kernel/tracing", "kernel/debug/tracing")


def tracefs(host: HostFs) -> Path | None:
    """Where it is mounted; None where it is not."""
    places = (host.sys / place for place in _TRACEFS)
    return next((place for place in places if (place / "events").is_dir()), None)


def no_tracepoint(group: str, event: str, host: HostFs) -> str | None:
    """Why there is no such tracepoint under tracefs."""
    missing = no_tracefs(host)
    if missing:
        return missing
    if any((host.sys / place / "events" / group / event).is_dir() for place in _TRACEFS):
        return None
    return f"this kernel has no tracepoint {group}:{event}"


def lockdown(host: HostFs) -> str | None:
    """ "none", "integrity" or "confidentiality"; None where securityfs does not say."""
    try:
        text = (host.sys / "kernel/security/lockdown").read_text()
    except OSError:
        return None
    start, end = text.find("["), text.find("]")
    return text[start + 1 : end] if 0 <= start < end else None


_KPROBES = frozenset(("kprobe", "kretprobe", "ksyscall", "kretsyscall"))
_TRAMPOLINES = frozenset(("fentry", "fexit", "fmod_ret", "lsm"))


def kind_of(section: str) -> str:
    """An ELF section's first word: "fentry.s/do_exit" is of kind fentry."""
    return section.partition("/")[0].partition(".")[0]


def refusal(section: str, number: int, host: HostFs) -> str | None:
    """Why a function of this ELF section is refused with this errno, where the machine's state
    explains it better than what the verifier and libbpf say."""
    of_kind = refusal_of_kind(section, number, host)
    if of_kind is not None:
        return of_kind
    kind, _, target = section.partition("/")
    if kind in ("tracepoint", "tp") and number in (errno.ENOENT, errno.EINVAL):
        group, _, event = target.partition("/")
        return no_tracepoint(group, event, host)
    return _not_permitted(kind, host) if number == errno.EPERM else None


def refusal_of_kind(section: str, number: int, host: HostFs) -> str | None:
    """The same, where the reason holds for every function of the section's kind."""
    kind = kind_of(section)
    if kind in ("tracepoint", "tp") and number in (errno.ENOENT, errno.EINVAL):
        return no_tracefs(host)
    if kind in _KPROBES and number in (errno.ENOENT, errno.EINVAL, errno.ENOTSUP):
        pmu = host.sys / "bus/event_source/devices/kprobe"
        return None if pmu.exists() else "this kernel has no kprobes (CONFIG_KPROBES)"
    if kind in _TRAMPOLINES and number == errno.EPERM:
        return _not_permitted(kind, host)
    return None


def _not_permitted(kind: str, host: HostFs) -> str:
    mode = lockdown(host)
    if mode not in (None, "none"):
        return f"the kernel is locked down ({mode}) and permits no {kind} programs"
    return f"the kernel does not permit {kind} programs here (EPERM)"


def btf_file_problem(path: str) -> str | None:
    """What is wrong with the file that `ebpf.btf` names, in one line; None if it begins as BTF
    does (Documentation/bpf/btf.rst: magic 0xeb9f)."""
    try:
        with Path(path).open("rb") as file:
            magic = file.read(2)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return f"ebpf.btf: {path}: cannot be read: {why}: name a BTF file, or leave the key out"
    if magic not in (b"\xeb\x9f", b"\x9f\xeb"):
        return f"ebpf.btf: {path}: is no BTF file: want this kernel's, as BTFHub has it"
    return None
