"""Wheels of a commit, as a release makes them: from a clean clone, whatever its path.

Knows no tests; `python -m tests.release` and the tests use it.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def run(*command: str | Path, cwd: Path = ROOT, **environ: str) -> str:
    """Standard output. Raises RuntimeError with all that it said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stdout}")
    return done.stdout


def build(tree: Path, into: Path) -> Path:
    """The wheel of a tree; its times are the commit's."""
    stamp = run("git", "log", "-1", "--format=%ct", cwd=tree).strip()
    into.mkdir(parents=True)
    run(
        *(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", into),
        cwd=tree,
        SOURCE_DATE_EPOCH=stamp,
    )
    return next(into.glob("*.whl"))


def of_clone(place: Path) -> Path:
    """A wheel of HEAD, built in a clone at `place`."""
    run("git", "clone", "--quiet", ROOT, place / "tree")
    return build(place / "tree", place / "dist")


def differences(one: Path, other: Path) -> list[str]:
    """Names of what is not the same in both; the wheel's own name if only its frame differs."""
    with zipfile.ZipFile(one) as a, zipfile.ZipFile(other) as b:
        names = set(a.namelist()) ^ set(b.namelist())
        both = set(a.namelist()) & set(b.namelist())
        names |= {name for name in both if a.read(name) != b.read(name)}
    if not names and (one.name != other.name or one.read_bytes() != other.read_bytes()):
        names = {one.name}
    return sorted(names)


def interpreters(wanted: Iterable[str] = PYTHONS) -> Iterator[tuple[str, Path | None]]:
    """Version and where it is: on PATH if that runs, else one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in wanted:
        found = [Path(each) for each in [shutil.which(f"python{version}")] if each]
        found += sorted(pyenv.glob(f"{version}.*/bin/python"))
        yield version, next((each for each in found if _runs(each)), None)


def _runs(python: Path) -> bool:
    done = subprocess.run([python, "-c", "import venv, ssl"], capture_output=True)
    return done.returncode == 0
