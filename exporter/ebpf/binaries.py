"""Files with code on the host, by name alone: where distributions keep programs and libraries.

A name may have a star. Each file comes once, however many links lead to it. Knows folders, not
what is inside of files.
"""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from exporter.hostfs import HostFs

_ELF = b"\x7fELF"


def folders(machine: str) -> Sequence[str]:
    """Relative to the host's root. Debian has its libraries by architecture, others in lib64."""
    multiarch = [f"{machine}-linux-gnu", f"{machine}-linux-musl"]
    libraries = [
        *("lib64", "usr/lib64"),
        *(f"{top}/{name}" for name in multiarch for top in ("lib", "usr/lib")),
        *("lib", "usr/lib", "usr/local/lib64", "usr/local/lib"),
    ]
    return ["usr/bin", "usr/sbin", "usr/local/bin", "bin", "sbin", *libraries]


def find(name: str, host: HostFs, machine: str | None = None) -> list[Path]:
    """Every ELF file of this name, best first; [] if there is none. `machine` as uname has it."""
    seen: set[tuple[int, int]] = set()
    found: list[Path] = []
    for folder in folders(machine or os.uname().machine):
        for file in _matching(host.root / folder, name):
            try:
                state = file.stat()
                if (state.st_dev, state.st_ino) in seen:
                    continue
                seen.add((state.st_dev, state.st_ino))
                with file.open("rb") as content:
                    if content.read(len(_ELF)) == _ELF:
                        found.append(file)
            except OSError:  # gone, a folder, a link to nowhere
                continue
    return found


def _matching(folder: Path, name: str) -> Iterator[Path]:
    if "*" not in name:
        yield folder / name
        return
    try:
        files = [file for file in folder.iterdir() if fnmatchcase(file.name, name)]
    except OSError:
        return
    yield from sorted(files)
