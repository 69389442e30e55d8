"""Landlock: which files and TCP ports a role may reach once it has begun.

All is refused but what is listed, by rights that this kernel knows (its ABI is asked for). A rule
stands for what is there when it is made: a folder and all that will ever be below it, or one file
by its inode. Source: Documentation/userspace-api/landlock.rst.
"""

import os
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from exporter.privileges import calls

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (
    1 << bit for bit in range(6, 13)
)
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
BIND_TCP = 1
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1, 2

READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | TRUNCATE | MAKE_REG | REMOVE_FILE
CHANGE = READ | WRITE_FILE | TRUNCATE | MAKE_DIR | REMOVE_DIR
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_KNOWN_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_ABI, _SCOPE_ABI = 4, 6


class Places(NamedTuple):
    """What stays reachable; what is not there is left out. `read` are folders and files,
    `write` are folders in which files are made, changed and removed, and files that are changed;
    in `change` files are changed, and folders made and removed.
    `ports`: TCP ports that may be bound; 0 is any that the kernel chooses. `abstract_sockets`:
    sockets of others in the abstract namespace may be connected to."""

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    change: tuple[Path, ...] = ()
    ports: tuple[int, ...] = (0,)
    abstract_sockets: bool = False


class Handled(NamedTuple):
    """struct landlock_ruleset_attr: what is refused unless a rule allows it."""

    files: int
    net: int
    scoped: int

    def packed(self, abi: int) -> bytes:
        """As long as this ABI knows it."""
        fields = 3 if abi >= _SCOPE_ABI else 2 if abi >= _NET_ABI else 1
        return struct.pack(f"={fields}Q", *self[:fields])


def handled(abi: int, abstract_sockets: bool) -> Handled:
    """Of an ABI from 1 on."""
    files = next(
        known for since, known in sorted(_KNOWN_BY_ABI.items(), reverse=True) if abi >= since
    )
    scoped = SCOPE_SIGNAL | (0 if abstract_sockets else SCOPE_ABSTRACT_UNIX)
    return Handled(files, BIND_TCP if abi >= _NET_ABI else 0, scoped if abi >= _SCOPE_ABI else 0)


def restrict(places: Places, abi: int) -> None:
    """This thread, and those that it starts from here on. Raises OSError."""
    handles = handled(abi, places.abstract_sockets)
    ruleset = calls.landlock_ruleset(handles.packed(abi))
    try:
        allowed = ((places.read, READ), (places.write, WRITE), (places.change, CHANGE))
        for paths, rights in allowed:
            _allow(ruleset, paths, rights & handles.files)
        if handles.net:
            for port in places.ports:
                calls.landlock_allow_port(ruleset, BIND_TCP, port)
        calls.landlock_restrict(ruleset)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, paths: Iterable[Path], rights: int) -> None:
    for path in dict.fromkeys(paths):
        with suppress(OSError):  # not there, or not ours to look at: it was out of reach before
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                folder = stat.S_ISDIR(os.fstat(fd).st_mode)
                calls.landlock_allow_path(ruleset, rights if folder else rights & _OF_FILES, fd)
            finally:
                os.close(fd)
