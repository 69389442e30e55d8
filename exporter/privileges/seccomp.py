"""The filter of system calls, as a classic BPF program: what a role that has begun never does.

All is allowed but what is listed: a list of what is allowed would be the C library's matter, and
break with its next release. What is refused gives EPERM, so that it is told like any other refusal.
Pure. Source: include/uapi/linux/{filter,seccomp,audit,sched,bpf}.h.
"""

import struct
import sys
from collections.abc import Mapping
from typing import NamedTuple

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_EPERM, _ENOSYS = 1, 38
ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

# By what they would be good for to whoever took the process over.
REFUSED = (
    # running programs
    *("execve", "execveat", "uselib"),
    # other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp"),
    # mounts and roots
    *("mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "swapon", "swapoff"),
    # namespaces
    *("setns", "unshare"),
    # the kernel itself
    *("init_module", "finit_module", "delete_module", "create_module", "kexec_load"),
    *("kexec_file_load", "reboot", "syslog", "perf_event_open", "userfaultfd", "fanotify_init"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "quotactl", "quotactl_fd", "acct"),
    *("iopl", "ioperm", "modify_ldt", "personality", "lookup_dcookie", "vhangup", "nfsservctl"),
    # keys
    *("keyctl", "add_key", "request_key"),
    # being somebody else
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid"),
    *("setgroups", "capset"),
    # what Landlock leaves to a file's owner
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr"),
    *("fremovexattr", "removexattrat", "file_setattr"),
    # devices, names and the clock
    *("mknod", "mknodat", "sethostname", "setdomainname", "settimeofday", "clock_settime"),
    *("clock_adjtime", "adjtimex"),
)
FORKING = ("fork", "vfork")
MAP_COMMANDS: Mapping[str, int] = {
    "BPF_MAP_LOOKUP_ELEM": 1,
    "BPF_MAP_UPDATE_ELEM": 2,
    "BPF_MAP_DELETE_ELEM": 3,
    "BPF_MAP_GET_NEXT_KEY": 4,
    "BPF_OBJ_GET_INFO_BY_FD": 15,
    "BPF_MAP_LOOKUP_BATCH": 24,
    "BPF_MAP_UPDATE_BATCH": 26,
    "BPF_MAP_DELETE_BATCH": 27,
    "BPF_ITER_CREATE": 33,
    "BPF_LINK_DETACH": 34,
}
"""What reading loaded maps again takes of bpf(2), snapshots by iterators and detaching too."""
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
_CLONE_THREAD = 0x10000
_CLONE_NEW = 0x7E020000  # NEWNS, CGROUP, UTS, IPC, USER, PID, NET
_O_PATH = 0o10000000
_X32 = 0x40000000

# struct seccomp_data: nr, arch, instruction_pointer, args[6]
_NR, _ARCH, _ARGS = 0, 4, 16
_LOW = 0 if sys.byteorder == "little" else 4
_LD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|*|K, BPF_RET|K


class Wants(NamedTuple):
    """`maps` are read again, else bpf(2) is refused whole; `processes` are forked; sockets are made
    where there is a `network`."""

    maps: bool = False
    processes: bool = False
    network: bool = True


class Instruction(NamedTuple):
    """struct sock_filter: `jt`, `jf` are how many are skipped."""

    code: int
    jt: int
    jf: int
    k: int


def program(machine: str, numbers: Mapping[str, int], wants: Wants) -> list[Instruction]:
    """Of a machine that AUDIT_ARCH has. `numbers` are its system calls by name; one that it has not
    is left out."""
    refuse, unknown = _refusal(_EPERM), _refusal(_ENOSYS)
    made = [
        Instruction(_LD, 0, 0, _ARCH),
        Instruction(_JEQ, 1, 0, AUDIT_ARCH[machine]),
        refuse,
        Instruction(_LD, 0, 0, _NR),
    ]
    if machine == "x86_64":  # the other ABI's numbers would go past all that follows
        made += [Instruction(_JGE, 0, 1, _X32), refuse]
    for name in REFUSED if wants.processes else (*REFUSED, *FORKING):
        if name in numbers:
            made += [Instruction(_JEQ, 0, 1, numbers[name]), refuse]
    # Its flags are in memory, which no filter sees; the C library then takes clone.
    made += [Instruction(_JEQ, 0, 1, numbers["clone3"]), unknown]
    only_threads = [Instruction(_JSET, 1, 0, _CLONE_THREAD), refuse]
    made += _on(numbers["clone"], [
        _load(0),
        Instruction(_JSET, 0, 1, _CLONE_NEW),
        refuse,
        *([] if wants.processes else only_threads),
    ])  # fmt: skip
    made += _on(numbers["socket"], _one_of(0, FAMILIES if wants.network else {}, refuse))
    # By its number a cgroup is found (decoders/cgroup_paths.py), and nothing is opened.
    made += _on(numbers["open_by_handle_at"], [
        _load(2), Instruction(_JSET, 1, 0, _O_PATH), refuse,
    ])  # fmt: skip
    made += _on(numbers["bpf"], _one_of(0, MAP_COMMANDS if wants.maps else {}, refuse))
    return [*made, Instruction(_RET, 0, 0, ALLOW)]


def packed(instructions: list[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)


def _refusal(number: int) -> Instruction:
    return Instruction(_RET, 0, 0, _ERRNO | number)


def _load(argument: int) -> Instruction:
    """An argument's lower half: whoever sets bits above it is asked about those below."""
    return Instruction(_LD, 0, 0, _ARGS + 8 * argument + _LOW)


def _on(number: int, then: list[Instruction]) -> list[Instruction]:
    """Those, for this system call, and allowed at their end."""
    block = [*then, Instruction(_RET, 0, 0, ALLOW)]
    return [Instruction(_JEQ, 0, len(block), number), *block]


def _one_of(argument: int, values: Mapping[str, int], refuse: Instruction) -> list[Instruction]:
    allow = Instruction(_RET, 0, 0, ALLOW)
    made = [_load(argument)]
    for value in values.values():
        made += [Instruction(_JEQ, 0, 1, value), allow]
    return [*made, refuse]
