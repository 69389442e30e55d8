"""The bytes of a .bpf.o, taken only from where nobody else can write, and only if they are BPF.

What is checked is what is loaded: one open file, read once. libbpf 1.1 crashed on mutated objects,
so nothing reaches it before the ELF structure holds.
"""

import os
import stat
import struct
import sys
from collections.abc import Collection
from pathlib import Path

from exporter.errors import BpfError

ROOT_ONLY = frozenset({0})

# elf(5), linux/elf-em.h
_EM_BPF = 247
_ET_REL = 1
_SHT_NOBITS = 8
_SHF_EXECINSTR = 4
_MACHINES = {3: "x86", 40: "ARM", 62: "x86-64", 183: "ARM64", 243: "RISC-V"}
_HEADER = struct.Struct("16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("IIQQQQIIQQ")

_PACKAGE = Path(__file__).resolve().parent.parent
_SHIPPED = (_PACKAGE / "_bpf", _PACKAGE.parent / "bpf")


def read_object(path: Path) -> bytes:
    """The object's bytes; BpfError with one line where it is missing, untrusted or not BPF."""
    real = path.resolve()
    owners = trusted_owners(real)
    try:
        with real.open("rb") as file:
            _check_writers(real, os.fstat(file.fileno()), owners)
            for folder in real.parents:
                _check_writers(folder, folder.stat(), owners)
            data = file.read()
    except FileNotFoundError:
        raise BpfError(f"{path}: is missing: not compiled yet? run make setup") from None
    except OSError as error:
        raise BpfError(f"{path}: cannot be read: {error.strerror}") from None
    problem = elf_problem(data)
    if problem:
        raise BpfError(f"{path}: {problem}")
    return data


def trusted_owners(real: Path) -> frozenset[int]:
    """Who may own an object at this resolved path: root; and for what kernmesh ships, whoever
    owns kernmesh's own code."""
    if real.parent in _SHIPPED:
        return ROOT_ONLY | {_PACKAGE.stat().st_uid}
    return ROOT_ONLY


def _check_writers(path: Path, state: os.stat_result, owners: Collection[int]) -> None:
    if state.st_uid not in owners:
        want = " or ".join(str(uid) for uid in sorted(owners))
        raise BpfError(f"{path}: is owned by uid {state.st_uid}, want {want}: chown it")
    others = stat.S_IMODE(state.st_mode) & 0o022
    # In a sticky folder (/tmp) others can add files, but not replace this one.
    if others and not (stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_ISVTX):
        raise BpfError(
            f"{path}: others can write it (mode {stat.S_IMODE(state.st_mode):o}), "
            "so what it loads into the kernel cannot be trusted: chmod go-w"
        )


def elf_problem(data: bytes) -> str | None:
    """What is wrong with an object's ELF structure; None where it is sound BPF."""
    if data[:4] != b"\x7fELF":
        return "is no ELF file, want what clang -target bpf writes"
    if len(data) < _HEADER.size:
        return f"is cut off: {len(data)} bytes are not even an ELF header"
    order = 1 if sys.byteorder == "little" else 2
    if data[4] != 2 or data[5] != order:
        return f"is not 64-bit {sys.byteorder}-endian ELF: compile it for this machine"
    fields = _HEADER.unpack_from(data)
    kind, machine, sections_at, entry_size, count = (fields[i] for i in (1, 2, 6, 11, 12))
    if machine != _EM_BPF:
        name = _MACHINES.get(machine, f"machine {machine}")
        return f"is compiled for {name}, want BPF: compile it with clang -target bpf"
    if kind != _ET_REL or entry_size != _SECTION.size or not count:
        return "is no relocatable ELF object: compile it with clang -target bpf -c"
    if sections_at + count * entry_size > len(data):
        return f"is cut off: its section table ends after its {len(data)} bytes"
    code = 0
    for number in range(count):
        section = _SECTION.unpack_from(data, sections_at + number * entry_size)
        flags, offset, size = section[2], section[4], section[5]
        if section[1] != _SHT_NOBITS and offset + size > len(data):
            return f"is cut off: section {number} ends after its {len(data)} bytes"
        code += size if flags & _SHF_EXECINSTR else 0
    return None if code else "has no BPF functions"
