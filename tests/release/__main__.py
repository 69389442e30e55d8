"""`python -m tests.release`: builds HEAD's wheel twice elsewhere, installs it, runs it (root).

Exit code 1 where the two differ, or an agent of the wheel does not do its work.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.release.python import Python, pythons
from tests.release.wheel import ROOT, differences, of_clone, run

_URL = re.compile(r"^metrics: (\S+)", re.MULTILINE)
DEFAULT_PROGRAMS = 3
CACHE = ROOT / ".cache" / "image"


def agent_of(python: Python, wheel: Path, place: Path) -> str:
    """What the installed agent counts, in one line; `place` is an empty folder. Raises
    RuntimeError."""
    environ = python.environment()

    def within(*words: str | Path) -> str:
        return run(*python.command(place, *words), cwd=place, environ=environ)

    for file in (ROOT / "requirements/run.lock", wheel):
        shutil.copy(file, place)
    environment = place / "venv"
    within(python.executable, "-m", "venv", environment)
    pip = (environment / "bin/python", "-m", "pip", "install", "--quiet")
    within(*pip, "--require-hashes", "-r", place / "run.lock")
    within(*pip, "--no-deps", "--no-index", place / wheel.name)
    config = place / "agent.yaml"
    config.write_text("usage: {state_dir: null}\n")
    kernmesh = environment / "bin/kernmesh"
    within(kernmesh, "check", "--config", config)
    dashboards = place / "dashboards"
    within(kernmesh, "dashboards", "build", "--out", dashboards)
    listen = ("--web.listen-address", "127.0.0.1:0")
    agent = subprocess.Popen(
        python.command(place, kernmesh, "agent", "--config", config, *listen),
        cwd=place,  # not the checkout: what runs is what was installed
        env=dict(environ),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert agent.stdout is not None
        screen = ""
        for line in agent.stdout:
            screen += line
            if found := _URL.search(screen):
                break
        else:
            raise RuntimeError(f"the agent ended:\n{screen}")
        with urllib.request.urlopen(found[1], timeout=60) as answer:
            text = answer.read().decode()
    finally:
        agent.terminate()
        agent.wait(60)
    if f"programs: {DEFAULT_PROGRAMS} of {DEFAULT_PROGRAMS} on" not in screen:
        raise RuntimeError(screen)
    if "ebpf_exporter_timer_starts_total{" not in text:
        raise RuntimeError("no timers counted")
    series = sum(not line.startswith("#") for line in text.splitlines())
    return f"{series} series, {len(list(dashboards.glob('*.json')))} dashboards"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        one = of_clone(place / "one")
        other = of_clone(place / "a" / "longer" / "path")
        unlike = differences(one, other)
        print(f"{one.name}: {one.stat().st_size} bytes")
        print("built twice: " + (f"differs in {', '.join(unlike)}" if unlike else "same bytes"))
        failed = bool(unlike)
        for version, python in pythons(CACHE):
            if python is None:
                print(f"Python {version}: not here, nor by debootstrap as root")
                continue
            (place / version).mkdir()
            try:
                print(f"Python {version}: {agent_of(python, one, place / version)}", flush=True)
            except RuntimeError as error:
                failed = True
                print(f"Python {version}: {error}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
