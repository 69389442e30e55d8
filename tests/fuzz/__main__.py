"""`python -m tests.fuzz [NAME …] --seconds 600`: targets under atheris, one after the other.

`--replay` runs what crashed once, `--write` puts the table into docs/reliability.md.
"""

import argparse
import sys

from tests.fuzz import report, running
from tests.fuzz.targets import NAMES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=600, help="per target (default 600)")
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    names = arguments.names or NAMES
    lines: list[str] = []
    for name in names:
        lines += running.replay(name) if arguments.replay else []
        if not (arguments.replay or arguments.write):
            lines += running.run(name, arguments.seconds)
            print(f"{name}: {running.read(name)}", flush=True)
    for line in lines:
        print(line, file=sys.stderr)
    if arguments.write:
        report.write()
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
