"""Kernels to try, from Debian's own packages: fetched with apt, unpacked, never installed."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.errors import KernmeshError
from tests.debian import Apt


class Wanted(NamedTuple):
    """A kernel series and the suite that has it. `suite` is as `archive` names it, below the
    address of the machine's own suites "<release>" or "<release>-security"."""

    series: str
    suite: str


# 4.19 was buster's, which the archive does not serve any more: 5.10 is its oldest.
WANTED = (
    Wanted("5.10", "bullseye-security"),
    Wanted("6.1", "bookworm"),
    Wanted("6.12", "bookworm-backports"),
    Wanted("7.2", "sid"),
)
FLAVOUR = "cloud-amd64"


class Kernel(NamedTuple):
    """An unpacked kernel. `release` is what its `uname -r` says."""

    series: str
    release: str
    image: Path
    modules: Path

    def module(self, name: str) -> bytes | None:
        """The module's file, unpacked where it is compressed; None where there is none."""
        for file in sorted(self.modules.rglob(f"{name}.ko*")):
            if file.suffix == ".xz":
                return subprocess.run(["xz", "-dc", file], check=True, capture_output=True).stdout
            return file.read_bytes()
        return None


def fetched(wanted: Sequence[Wanted], cache: Path) -> list[Kernel]:
    """The kernels below `cache`, after fetching those that are not there yet.

    Raises KernmeshError where a suite does not serve such a kernel or apt fails."""
    missing = [each for each in wanted if not (cache / each.series / ".unpacked").exists()]
    if missing:
        apt = Apt.over({each.suite for each in missing}, cache / "apt")
        for each in missing:
            _unpack(apt, each, cache / each.series)
    return [_unpacked(each.series, cache / each.series) for each in wanted]


def headers(kernel: Kernel, cache: Path) -> Path:
    """The folder below `cache` that has the headers of exactly this kernel as /usr/src would,
    after fetching them if they are not there yet.

    Raises KernmeshError where the suite that the kernel came from has them no more."""
    folder = cache / f"headers-{kernel.release}"
    if not (folder / ".unpacked").exists():
        suite = next(each.suite for each in WANTED if each.series == kernel.series)
        apt = Apt.over({suite}, cache / "apt")
        _download(apt, header_packages(kernel.release), suite, folder)
        (folder / ".unpacked").touch()
    return folder


def header_packages(release: str) -> list[str]:
    """The flavour's own, and what all flavours of this release share."""
    common = f"{release.removesuffix(FLAVOUR)}common"
    return [f"linux-headers-{release}", f"linux-headers-{common}"]


def newest(names: Iterable[str], series: str) -> str | None:
    """The newest kernel package of the series, or of the next series that is there.

    Suites that move on (sid) drop a series when its successor comes."""
    pattern = re.compile(rf"^linux-image-((\d+)\.(\d+)\.(\S+))-{FLAVOUR}$")
    found = [match for match in map(pattern.match, names) if match]
    least = tuple(int(part) for part in series.split("."))
    there = sorted({(int(m[2]), int(m[3])) for m in found if (int(m[2]), int(m[3])) >= least})
    candidates = [m for m in found if there and (int(m[2]), int(m[3])) == there[0]]
    if not candidates:
        return None
    return max(candidates, key=lambda m: [int(n) for n in re.findall(r"\d+", m[1])])[0]


def _unpack(apt: Apt, wanted: Wanted, folder: Path) -> None:
    names = apt.run("apt-cache", "pkgnames", f"linux-image-{wanted.series.split('.')[0]}.")
    package = newest(names.split(), wanted.series)
    if package is None:
        raise KernmeshError(f"{wanted.suite}: serves no kernel {wanted.series} or newer")
    facts = apt.run("apt-cache", "show", "--no-all-versions", package)
    version = re.search(r"^Version: (\S+)$", facts, re.M)
    assert version
    # From 7.x on the image package is empty, and names its parts with its own version.
    parts = re.findall(rf"(linux-[\w.+-]+) \(= {re.escape(version[1])}\)", facts)
    _download(apt, [package, *parts], wanted.suite, folder)
    _unpacked(wanted.series, folder)
    (folder / ".unpacked").touch()


def _download(apt: Apt, packages: Sequence[str], suite: str, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    print(f"fetching {packages[0]} from {suite}", flush=True)
    apt.unpack(packages, folder)


def _unpacked(series: str, folder: Path) -> Kernel:
    modules = next(folder.glob("**/lib/modules/*/kernel"), None)
    image = next(folder.glob("**/vmlinuz*"), None)
    if modules is None or image is None:
        raise KernmeshError(f"{folder}: has no kernel, remove it to have it fetched again")
    return Kernel(series, modules.parent.name, image, modules)
