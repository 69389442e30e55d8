"""The system calls by which a process lets go of privileges; all of this package's ctypes.

Each raises OSError. All but `filter_system_calls` are the calling thread's own matter, and hold for
the threads that it starts afterwards.
"""

import ctypes
import functools
import os
import struct
from collections.abc import Collection

# include/uapi/linux/prctl.h
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 24, 38, 47
_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522  # include/uapi/linux/capability.h
_SECCOMP_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1  # include/uapi/linux/seccomp.h
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_BPF = {"x86_64": 321, "aarch64": 280}
# include/uapi/linux/landlock.h; one number on all machines
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULESET_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _syscall(number: int, *arguments: object) -> int:
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(_libc().syscall(ctypes.c_long(number), *wide))


def _prctl(*arguments: int) -> int:
    return _checked(_libc().prctl(*(ctypes.c_long(each) for each in (*arguments, 0, 0, 0, 0)[:5])))


def no_new_privileges() -> None:
    """No program that is run from here on gains any (set-user-id files, file capabilities)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_from_bounding_set(capability: int) -> None:
    """EINVAL: the kernel knows none of that number; EPERM: this takes CAP_SETPCAP."""
    _prctl(_PR_CAPBSET_DROP, capability)


def clear_ambient() -> None:
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)


def set_capabilities(numbers: Collection[int]) -> None:
    """These effective and permitted, none inheritable: capset(2). EPERM where one of them is not
    permitted now."""
    mask = sum(1 << number for number in numbers)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _checked(_libc().capset(header, struct.pack("=6I", low, low, 0, high, high, 0)))


def filter_system_calls(machine: str, program: bytes) -> None:
    """A classic BPF program (struct sock_filter each 8 bytes) for every thread there is, or for
    none: ESRCH where one has another filter of its own. no_new_privileges goes to them, too."""
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: length, padding, address
    prog = struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    stuck = _syscall(_SECCOMP[machine], _SECCOMP_SET_MODE_FILTER, _FLAG_TSYNC, prog)
    if stuck:
        raise OSError(0, f"thread {stuck} cannot be filtered")


def landlock_abi() -> int:
    """0 where this kernel has none, or it is not turned on (lsm=)."""
    try:
        return _syscall(_CREATE_RULESET, None, 0, _RULESET_VERSION)
    except OSError:
        return 0


def landlock_ruleset(attributes: bytes) -> int:
    """Its file descriptor."""
    return _syscall(_CREATE_RULESET, attributes, len(attributes), 0)


def landlock_allow_path(ruleset: int, rights: int, fd: int) -> None:
    """Below what `fd` is, or of that file. struct landlock_path_beneath_attr is packed."""
    _syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)


def landlock_allow_port(ruleset: int, rights: int, port: int) -> None:
    _syscall(_ADD_RULE, ruleset, _NET_PORT, struct.pack("=QQ", rights, port), 0)


def landlock_restrict(ruleset: int) -> None:
    """Takes no_new_privileges, or CAP_SYS_ADMIN."""
    _syscall(_RESTRICT_SELF, ruleset, 0)


def bpf(machine: str, command: int, attributes: bytes) -> int:
    """bpf(2)."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return _syscall(_BPF[machine], command, buffer, len(attributes))


def read_element(machine: str, fd: int, key: bytes, value: bytearray) -> None:
    """BPF_MAP_LOOKUP_ELEM of a map, `value` as long as one is."""
    asked = ctypes.create_string_buffer(key, len(key))
    found = (ctypes.c_char * len(value)).from_buffer(value)
    where = (fd, 0, ctypes.addressof(asked), ctypes.addressof(found), 0)
    bpf(machine, 1, struct.pack("=IIQQQ", *where))
