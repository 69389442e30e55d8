"""`make bench`: runs the named benchmarks (all by default) and prints their tables as Markdown.

With --write each one's section of its page in docs/ is made anew, and no other. Each runs in a
process of its own, so that none measures what another left in memory; one that fails is said and
hides no other. At the end: how long each took, and what else ran on the machine meanwhile.
`interference` and `soak` are programs of their own, with arguments and pages of their own
(`python -m benchmarks interference --help`).
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.catalogue import APART, BENCHMARKS, LEVELS, NAMES, Benchmark
from benchmarks.pages import Run, put_section, section
from benchmarks.process import children_cpu_seconds, machine_cpu_seconds

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    if sys.argv[1:2] and sys.argv[1] in APART:
        module = f"{__package__}.{sys.argv[1]}"
        return subprocess.run([sys.executable, "-m", module, *sys.argv[2:]]).returncode
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--write", action="store_true", help="also into the pages in docs/")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    machine, failed = _machine(), list[str]()
    runs: dict[str, Run] = {}
    for each in BENCHMARKS:
        if arguments.names and each.name not in arguments.names:
            continue
        print(f"running {each.name} …", file=sys.stderr)
        printed, runs[each.name] = _run(each.name, machine)
        if printed is None:
            failed.append(each.name)
            continue
        text = section(each.name, printed, runs[each.name], LEVELS.get(each.page, 2))
        print(f"{text}\n", flush=True)
        if arguments.write:
            _write(each, text)
    for name, run in runs.items():
        print(
            f"{name:20} {run.seconds:5.0f} s   load {run.load[0]:5.2f} → {run.load[1]:5.2f}   "
            f"all else {run.others:.2f} of a processor{'   FAILED' if name in failed else ''}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _run(name: str, machine: str) -> tuple[str | None, Run]:
    """What it printed; None where it failed or printed no table."""
    began, load = datetime.now(UTC), os.getloadavg()[0]
    wall, all_, own = time.monotonic(), machine_cpu_seconds(), children_cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    seconds = time.monotonic() - wall
    others = machine_cpu_seconds() - all_ - (children_cpu_seconds() - own)
    run = Run(began, seconds, machine, (load, os.getloadavg()[0]), max(0.0, others / seconds))
    if done.returncode or "\n| -" not in done.stdout:
        print(f"{name} failed with exit code {done.returncode}", file=sys.stderr)
        return None, run
    return done.stdout, run


def _write(benchmark: Benchmark, text: str) -> None:
    path = ROOT / "docs" / benchmark.page
    order = [each.name for each in BENCHMARKS if each.page == benchmark.page]
    path.write_text(put_section(path.read_text(), benchmark.name, text, order))


def _machine() -> str:
    described = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
    )
    commit = f"Commit {described.stdout.strip()}, " if described.returncode == 0 else ""
    return (
        f"{commit}Linux {platform.release()}, {platform.machine()}, {os.cpu_count()} processors, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
