"""Headers of the kernel for bcc: which there are, and whether they are the running kernel's.

With headers of another kernel bcc compiles what reads the kernel's structs without a word, and
reads wrong places. Nothing is written to /lib/modules: Debian's two folders are joined elsewhere.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from exporter.hostfs import HostFs

_RELEASE = re.compile(r'#define\s+UTS_RELEASE\s+"([^"]+)"')
_RELEASE_FILE = "include/generated/utsrelease.h"


class Headers(NamedTuple):
    """`build` has the configuration and what is generated, `source` (None: the same folder) the
    rest. `release` is what `uname -r` said where they are for."""

    build: Path
    source: Path | None
    release: str


def find(host: HostFs, running: str) -> Headers | None:
    """Those of the release `running` if there are any, else some."""
    found = list(_all(host, running))
    return next((each for each in found if each.release == running), found[0] if found else None)


def _all(host: HostFs, running: str) -> Iterator[Headers]:
    folders = [host.root / "lib/modules" / running / "build"]
    folders += sorted((host.root / "usr/src").glob("linux-headers-*"), reverse=True)
    folders += sorted((host.root / "usr/src/kernels").glob("*"), reverse=True)
    for folder in folders:
        try:
            match = _RELEASE.search((folder / _RELEASE_FILE).read_text())
        except OSError:
            continue
        if match:
            yield Headers(folder, _common(folder), match[1])


def _common(folder: Path) -> Path | None:
    """Debian keeps what is the same for all flavours in linux-headers-<version>-common."""
    real = folder.resolve()
    version = real.name.removeprefix("linux-headers-")
    while "-" in version:
        version = version.rpartition("-")[0]
        common = real.parent / f"linux-headers-{version}-common"
        if common.is_dir() and common != real:
            return common
    return None


def join(headers: Headers, folder: Path) -> Path:
    """One tree of both in `folder`, for BCC_KERNEL_SOURCE: links only. Gives the tree's root."""
    if headers.source is None:
        return headers.build
    _link(folder, [headers.build.resolve(), headers.source])
    return folder


def _link(target: Path, sources: list[Path], deep: int = 0) -> None:
    """Folders that both have are made anew and filled from both; what one has is a link."""
    target.mkdir(exist_ok=True)
    names = {entry.name for source in sources for entry in source.iterdir()}
    for name in names:
        places = [source / name for source in sources if (source / name).exists()]
        if not places:
            continue
        if len(places) > 1 and all(place.is_dir() for place in places) and deep < 6:
            _link(target / name, places, deep + 1)
        else:
            (target / name).symlink_to(places[0].resolve())
