"""The bytes of a .bpf.o, taken only from where nobody else can write: they go into the kernel.

One open file, checked and read once, so that what was checked is what is loaded. Whether the
bytes are sound is elf.py's to say.
"""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from exporter.errors import BpfError

ROOT_ONLY = frozenset({0})

_PACKAGE = Path(__file__).resolve().parent.parent
CHECKOUT = _PACKAGE.parent / "bpf"
SHIPPED = (_PACKAGE / "_bpf", CHECKOUT)
"""Where kernmesh's own programs are: installed, and in a checkout."""


def shipped_folder() -> Path:
    """Where kernmesh's own programs and their headers are: in the package, or in the checkout."""
    return next((each for each in SHIPPED if each.is_dir()), CHECKOUT)


def read_object(path: Path) -> bytes:
    """The object's bytes; BpfError with one line where it is missing or not to be trusted."""
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
    return data


def trusted_owners(real: Path) -> frozenset[int]:
    """Who may own an object at this resolved path: root; and for what kernmesh ships, whoever
    owns kernmesh's own code."""
    if real.parent in SHIPPED:
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
