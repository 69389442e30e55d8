"""Wheels of a commit, as a release makes them: from a clean clone, whatever its path.

Knows no tests; `python -m tests.release` and the tests use it.
"""

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path = ROOT, environ: Mapping[str, str] = os.environ) -> str:
    """Standard output. Raises RuntimeError with all that it said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=dict(environ),
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
        environ={**os.environ, "SOURCE_DATE_EPOCH": stamp},
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
