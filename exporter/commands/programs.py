"""`kernmesh programs`: which hook each program gets on this kernel, by trying."""

import argparse
import json
import sys

from exporter.commands.flags import config_flag, hostfs, root_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    config_flag(parser)
    root_flags(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(arguments: argparse.Namespace) -> int:
    from exporter.config import load_agent
    from exporter.ebpf.selection import survey

    rows, unread = survey(load_agent(arguments.config).ebpf, hostfs(arguments))
    for problem in unread:
        print(problem, file=sys.stderr)
    if arguments.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return 0
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        print(f"{row.name:{width}}  {row.hook or '-- ' + (row.reason or 'no hook')}")
    return 0
