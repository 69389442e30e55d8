"""`python -m tests.release`: builds HEAD's wheel twice elsewhere, installs it, runs it (root).

Exit code 1 where the two differ, or an agent of the wheel does not do its work.
"""

import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.release.wheel import ROOT, differences, interpreters, of_clone, run

_URL = re.compile(r"^metrics: (\S+)", re.MULTILINE)
DEFAULT_PROGRAMS = 3


def agent_of(python: Path, wheel: Path, place: Path) -> str:
    """What the installed agent counts, in one line. Raises RuntimeError."""
    run(python, "-m", "venv", place)
    pip = (place / "bin/python", "-m", "pip", "install", "--quiet")
    run(*pip, "--require-hashes", "-r", ROOT / "requirements/run.lock")
    run(*pip, "--no-deps", "--no-index", wheel)
    config = place / "agent.yaml"
    config.write_text("usage: {state_dir: null}\n")
    kernmesh = place / "bin/kernmesh"
    dashboards = place / "dashboards"
    run(kernmesh, "dashboards", "build", "--out", dashboards, cwd=place)
    agent = subprocess.Popen(
        [kernmesh, "agent", "--config", config, "--web.listen-address", "127.0.0.1:0"],
        cwd=place,  # not the checkout: what runs is what was installed
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
        for version, python in interpreters():
            if python is None:
                print(f"Python {version}: not on this machine")
                continue
            try:
                print(f"Python {version}: {agent_of(python, one, place / version)}", flush=True)
            except RuntimeError as error:
                failed = True
                print(f"Python {version}: {error}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
