"""Runs targets under atheris, each in a process of its own, and writes down how far it came.

The rule: what is written down adds up over runs: seconds and inputs; coverage is the last run's.
Everything is in .cache/fuzz/<target>: corpus, crashes, log, result.json.
"""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.target import ROOT, Target, place, watched
from tests.fuzz.targets import NAMES, load

CACHE = ROOT / ".cache" / "fuzz"
_PROGRESS = re.compile(rb"^#(\d+)\t.*?cov: (\d+) ft: (\d+)", re.MULTILINE)
_LOOK_SECONDS = 5
_NICE = 19


class Result(NamedTuple):
    """`edges` and `features` are libFuzzer's: places of our code that were reached, and those by
    how often. None: it has not run."""

    seconds: int = 0
    executions: int = 0
    edges: int | None = None
    features: int | None = None


def read(name: str) -> Result:
    try:
        return Result(**json.loads((CACHE / name / "result.json").read_text()))
    except FileNotFoundError:
        return Result()


def run(name: str, seconds: int) -> list[str]:
    """Lines of what crashes now, [] for a good run."""
    folder = CACHE / name
    for each in ("corpus", "seeds", "crashes"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    for seed in load(name).seeds():
        (folder / "seeds" / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    began, before = time.monotonic(), read(name)
    while (left := round(began + seconds - time.monotonic())) > 0:
        _once(name, left, folder, before)
        before = read(name)
    return replay(name)


def _once(name: str, seconds: int, folder: Path, before: Result) -> None:
    command = [sys.executable, "-m", "tests.fuzz.engine", name, str(seconds), str(folder)]
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, preexec_fn=lambda: os.nice(_NICE)
        )
        try:
            while child.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_LOOK_SECONDS)
                _note(folder, before, round(time.monotonic() - began))
        finally:
            child.kill()
            child.wait()
    if time.monotonic() - began < 2:
        raise SystemExit(f"{name}: did not run:\n{(folder / 'log').read_text()[-3000:]}")


def _note(folder: Path, before: Result, seconds: int) -> None:
    found = _PROGRESS.findall((folder / "log").read_bytes())
    if not found:
        return
    executions, edges, features = map(int, found[-1])
    now = Result(before.seconds + seconds, before.executions + executions, edges, features)
    (folder / "result.json").write_text(json.dumps(now._asdict()))


def inputs(name: str) -> list[Path]:
    """Those that crashed, hung or bloated it once."""
    found = (CACHE / name / "crashes").glob("*")
    return sorted(path for path in found if path.suffix != ".txt")


def replay(name: str) -> list[str]:
    """What of those does so now: lines."""
    target: Target = load(name)
    lines = []
    for path in inputs(name):
        try:
            with watched():
                target.run(path.read_bytes())
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            lines.append(f"{name}: {path.name}: {place(error)}: {error!s:.200}")
    return lines


def replay_all() -> list[str]:
    return [line for name in NAMES for line in replay(name)]
