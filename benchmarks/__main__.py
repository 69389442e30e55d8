"""`make bench`: runs the named benchmarks (all by default) and prints their tables as Markdown.

With --write they go to docs/benchmarks.md. Each runs in a process of its own, so that none
measures what another left in memory. `interference` is a program of its own, with its own arguments
and its own page (`python -m benchmarks interference --help`).
"""

import argparse
import platform
import subprocess
import sys
from pathlib import Path

NAMES = (
    "render",
    "scrape",
    "tls",
    "agent",
    "bpf_cost",
    "backends",
    "pods",
    "usage",
    "controller",
    "mesh_reading",
    "kubernetes_source",
    "pingmesh",
    "pingmesh_share",
    "interference_engine",
    "interference_driver",
    "pressure",
)
APART = "interference"
"""Takes arguments of its own and half an hour of a quiet machine: never run with the others."""
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def main() -> int:
    if sys.argv[1:2] == [APART]:
        module = f"{__package__}.{APART}"
        return subprocess.run([sys.executable, "-m", module, *sys.argv[2:]]).returncode
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--write", action="store_true", help=f"also write docs/{DOCUMENT.name}")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    texts = []
    for name in arguments.names or NAMES:
        print(f"running {name} …", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            print(f"{name} failed", file=sys.stderr)
            return 1
        texts.append(done.stdout.strip())
    text = "\n\n".join(texts)
    print(text)
    if arguments.write:
        DOCUMENT.write_text(f"# Benchmarks\n\n{_preface()}\n\n{text}\n")
    return 0


def _preface() -> str:
    return (
        "Made by `make bench`. Ratios and medians of one run; absolute figures move by ±30 % on "
        f"shared machines.\nThis run: Linux {platform.release()}, {platform.machine()}, "
        f"Python {platform.python_version()}."
    )


if __name__ == "__main__":
    sys.exit(main())
