"""Capabilities: their names, those of a thread, and giving up all but some.

Source: include/uapi/linux/capability.h; fs/proc/array.c task_cap(). Knows nobody who wants one.
"""

import errno
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from exporter.privileges import calls

_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NUMBERS = {f"CAP_{name}": number for number, name in enumerate(_NAMES.split())}
_BY_NUMBER = {number: name for name, number in NUMBERS.items()}
_MOST = 64


class Held(NamedTuple):
    """A thread's sets, by number. `bounding` is what an exec could give back; no exec can, once
    there are no new privileges."""

    effective: frozenset[int]
    permitted: frozenset[int]
    inheritable: frozenset[int]
    ambient: frozenset[int]
    bounding: frozenset[int]

    @property
    def usable(self) -> frozenset[int]:
        """Those that the thread has, or can take without running a program."""
        return self.effective | self.permitted | self.inheritable | self.ambient


def held(fields: dict[str, str]) -> Held:
    """Of a /proc/<pid>/task/<tid>/status as fields. Raises KeyError, ValueError."""
    return Held(*(_set(fields[key]) for key in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")))


def _set(text: str) -> frozenset[int]:
    mask = int(text, 16)
    return frozenset(bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def name_of(number: int) -> str:
    """A newer kernel's has none."""
    return _BY_NUMBER.get(number, f"CAP_{number}")


def keep_only(wanted: Collection[int], now: Held) -> frozenset[int]:
    """Of this thread, and what it starts from here on, by what it holds now; those that it has got
    left. Also the bounding set, where that may be done. Raises OSError."""
    kept = now.permitted & frozenset(wanted)
    with suppress(OSError):  # kernels before 4.3 have none
        calls.clear_ambient()
    for number in range(_MOST):
        if number in kept:
            continue
        try:
            calls.drop_from_bounding_set(number)
        except OSError as error:
            if error.errno == errno.EINVAL:  # the kernel's last
                break
            if error.errno == errno.EPERM:  # no CAP_SETPCAP: it is as narrow as it is
                break
            raise
    calls.set_capabilities(kept)
    return kept
