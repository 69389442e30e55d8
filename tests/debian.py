"""Debian's packages for the tests: fetched with apt, unpacked, never installed.

The machine's apt sources stay as they are. Other suites are reached by a private apt state below
the cache folder, whose list of sources is written from the addresses that the machine's own
sources name: none stands here.
"""

import functools
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.errors import KernmeshError

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Apt(NamedTuple):
    """apt with a private state."""

    folder: Path

    @classmethod
    def over(cls, suites: Iterable[str], folder: Path, sources: bool = False) -> "Apt":
        """Fetches the lists of these suites; `sources`: of their source packages too."""
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        kinds = ("deb", "deb-src") if sources else ("deb",)
        lines = [
            f"{kind} [signed-by={_KEYRING}] {address_of(s)} {s} main\n"
            for s in sorted(suites)
            for kind in kinds
        ]
        (folder / "sources.list").write_text("".join(lines))
        apt = cls(folder)
        apt.run("apt-get", "-q", "update")
        return apt

    def run(self, command: str, *arguments: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": self.folder / "lists",
            "Dir::Cache": self.folder,
            "Acquire::Languages": "none",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",  # the cache folder may be closed to apt's own user
        }
        given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        return output_of([command, *given, *arguments], cwd)

    def unpack(self, packages: Sequence[str], folder: Path) -> None:
        """These packages' files below `folder`, nothing installed."""
        self.run("apt-get", "-q", "download", *packages, cwd=folder)
        for package_file in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package_file, folder], check=True)
            package_file.unlink()


def output_of(command: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        raise KernmeshError(f"{command[0]} {command[-1]}: failed: {last}")
    return done.stdout


@functools.cache
def _own_sources() -> tuple[tuple[str, str], ...]:
    """Address and suite of each source of this machine."""
    said = output_of(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
    return tuple(
        (address, suite) for address, suite in (line.split() for line in said.splitlines())
    )


def address_of(suite: str) -> str:
    """Where a suite is: beside the machine's own suite of its kind."""
    security = suite.endswith("-security")
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)
    own = f"{release[1] if release else ''}{'-security' if security else ''}"
    for address, has in _own_sources():
        if has == own:
            return address
    raise KernmeshError(f"apt sources: none has the suite {own!r}, beside which {suite} would be")
