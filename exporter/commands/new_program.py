"""`kernmesh new-program`: a pair of files to start from."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="lower-case, such as tcp-resets")
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="where to (default: here; in a checkout, its bpf/)"
    )


def run(arguments: argparse.Namespace) -> int:
    from exporter.ebpf import newprogram

    folder = arguments.dir.resolve() if arguments.dir else newprogram.place(Path.cwd())
    for path in newprogram.write(arguments.name, folder):
        print(f"wrote {path}")
    print(newprogram.next_steps(arguments.name, folder))
    return 0
