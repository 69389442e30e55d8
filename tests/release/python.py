"""Pythons to try a wheel with: this machine's, and one that no machine of ours has yet from a newer
Debian, in a folder of its own, by chroot (root).

The rule: such a chroot sees the kernel of this machine, its own files and one folder, `place`; it
trusts whom the machine trusts, by a copy.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.image.chroot import PIP, base

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
SUITES = {"3.14": "forky"}  # of Debian, where a machine has none of its own
_TRUSTED = "/mnt/trusted.crt"
_ENTER = f"""
mount --make-rprivate /
mount -t proc proc $1/proc
mount --rbind /sys $1/sys
mount --rbind /dev $1/dev
mount -t tmpfs -o mode=755 none $1/mnt
if [ -e /etc/resolv.conf ]; then cp -L /etc/resolv.conf $1/mnt/resolv.conf
  touch $1/etc/resolv.conf; mount --bind $1/mnt/resolv.conf $1/etc/resolv.conf; fi
cp -L /etc/ssl/certs/ca-certificates.crt $1{_TRUSTED}
mount -t tmpfs -o mode=1777 none $1/tmp
mkdir -p $1$2; mount --bind $2 $1$2
root=$1; shift 2; exec chroot $root "$@"
"""


class Python(NamedTuple):
    """`root` is the system that it is in; None: this machine."""

    executable: Path
    root: Path | None = None

    def command(self, place: Path, *words: str | Path) -> tuple[str | Path, ...]:
        """`words`, run where this Python is and `place` can be seen."""
        if self.root is None:
            return words
        return ("unshare", "--mount", "/bin/sh", "-ec", _ENTER, "sh", self.root, place, *words)

    def environment(self) -> Mapping[str, str]:
        """Of such a command."""
        if self.root is None:
            return os.environ
        env = {key: os.environ[key] for key in PIP if key in os.environ}
        return {**env, "PIP_CERT": _TRUSTED, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}


def pythons(cache: Path, wanted: Iterable[str] = VERSIONS) -> Iterator[tuple[str, Python | None]]:
    """Version, and what there is of it."""
    for version in wanted:
        own = _here(version)
        if own is not None:
            yield version, Python(own)
        elif version in SUITES and os.geteuid() == 0 and shutil.which("debootstrap"):
            root = base(cache, SUITES[version], (f"python{version}-venv", "libbpf1"))
            yield version, Python(Path(f"/usr/bin/python{version}"), root)
        else:
            yield version, None


def _here(version: str) -> Path | None:
    """On PATH if that runs, else one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [Path(each) for each in [shutil.which(f"python{version}")] if each]
    found += sorted(pyenv.glob(f"{version}.*/bin/python"))
    return next((each for each in found if _runs(each)), None)


def _runs(python: Path) -> bool:
    done = subprocess.run([python, "-c", "import venv, ssl"], capture_output=True)
    return done.returncode == 0
