"""Version and revision from git, when kernmesh is built or installed (hatchling's build hook);
and in a wheel, the compiled BPF objects.

They are written to exporter/_version.py, which goes into every wheel and sdist, so that no agent
asks git or importlib.metadata. Without git (an unpacked source tree) what that file says holds; a
tree without it too has the version that exporter/__init__.py names, and no revision.

    python hatch_build.py     writes the file anew and prints the version (make setup does)
"""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
WRITTEN = "exporter/_version.py"
_BASE = re.compile(r'^BASE = "([0-9.]+)"', re.MULTILINE)
_TAG = re.compile(r"v(\d+(?:\.\d+)*)-(\d+)-g[0-9a-f]+")
_FILE = re.compile(r'^__version__ = "([^"]*)"\n__revision__ = "([^"]*)"', re.MULTILINE)


class Described(NamedTuple):
    """`version` as PEP 440 has it; `revision` is the commit, "" where it is not known."""

    version: str
    revision: str


def describe(root: Path = ROOT) -> Described:
    base = _BASE.search((root / "exporter/__init__.py").read_text())
    if base is None:
        raise ValueError('exporter/__init__.py: no line BASE = "X.Y.Z"')
    return _of_git(root, base[1]) or _of_file(root) or Described(base[1], "")


def write(root: Path = ROOT) -> str:
    """Returns the version. The file is left alone where it says so already."""
    found = describe(root)
    text = (
        '"""Written by hatch_build.py when this was built or installed; not in git."""\n\n'
        f'__version__ = "{found.version}"\n__revision__ = "{found.revision}"\n'
    )
    file = root / WRITTEN
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
    return found.version


def _of_git(root: Path, base: str) -> Described | None:
    """A tag v1.2.3 is 1.2.3; what comes after it is 1.2.4.devN+gCOMMIT, N being commits since; and
    without any tag base.devN+gCOMMIT. What is not committed adds ".dirty"."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():  # a tree within another's repository
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:  # no commit yet
        return None
    dirty = _git(root, "status", "--porcelain", "--untracked-files=no") != ""
    tag = _TAG.fullmatch(
        _git(root, "describe", "--tags", "--long", "--abbrev=40", "--match", "v[0-9]*") or ""
    )
    if tag is None:
        release, since = base, _git(root, "rev-list", "--count", "HEAD") or "0"
    elif tag[2] == "0" and not dirty:
        return Described(tag[1], commit)
    else:
        *front, last = tag[1].split(".")
        release, since = ".".join([*front, str(int(last) + 1)]), tag[2]
    local = f"g{commit[:10]}" + (".dirty" if dirty else "")
    return Described(f"{release}.dev{since}+{local}", commit)


def _git(root: Path, *words: str) -> str | None:
    # Built as root in somebody else's checkout, git would not answer without safe.directory.
    command = ["git", "-C", str(root), "-c", f"safe.directory={root}", *words]
    try:
        done = subprocess.run(  # noqa: S603 # words of this file, and no shell
            command, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _of_file(root: Path) -> Described | None:
    try:
        found = _FILE.search((root / WRITTEN).read_text())
    except OSError:
        return None
    return Described(*found.groups()) if found else None


def compile_objects(root: Path) -> None:
    """Those that are there and newer than their sources are kept. Raises RuntimeError."""
    sources = list((root / "bpf").glob("*.bpf.c"))
    if sources and shutil.which("clang") and shutil.which("make"):
        make = ["make", "--silent", "-C", root / "bpf"]
        subprocess.run(make, check=True)  # noqa: S603 # whose make it is, the builder's PATH says
    missing = sorted(f.name for f in sources if not f.with_suffix(".o").exists())
    if missing:
        raise RuntimeError(
            f"a wheel has compiled BPF objects in it, and {', '.join(missing)} cannot be compiled: "
            "install clang, make and libbpf-dev, or take a wheel that somebody built"
        )


class WriteVersion(BuildHookInterface):  # type: ignore[type-arg] # of its builder's own settings
    """Called for a wheel, an sdist and an editable install alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        write(Path(self.root))
        build_data["artifacts"].append(f"/{WRITTEN}")
        if self.target_name == "wheel" and version == "standard":
            compile_objects(Path(self.root))
            # Any Python 3, but this processor's: objects know the registers of its function calls.
            build_data["tag"] = f"py3-none-linux_{platform.machine()}"


if __name__ == "__main__":
    sys.stdout.write(f"{write()}\n")
