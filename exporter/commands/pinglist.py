"""`kernmesh pinglist check`."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    check = verbs.add_parser(
        "check", help="read it, report all problems and what it will do", allow_abbrev=False
    )
    check.add_argument("file", type=Path, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    from pingmesh import pinglist

    found = pinglist.read_pinglist(arguments.file)
    for warning in pinglist.warnings(found):
        print(f"{arguments.file}: warning: {warning}", file=sys.stderr)
    print(f"ok: {pinglist.summary(found)}")
    return 0
