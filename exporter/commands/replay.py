"""`kernmesh replay`: what a recording holds, or what rules would have found in it."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.commands.flags import config_flag

if TYPE_CHECKING:
    from exporter.usage.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--rules",
        metavar="R",
        help="rules.json, YAML or `default`: print what they find, tick by tick",
    )
    config_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    from exporter.usage.record import lines, read

    recording = read(arguments.file)
    try:
        if arguments.rules is None:
            for line in lines(recording):
                print(line)
            return 0
        return _rehearse(recording, arguments)
    finally:
        recording.close()


def _rehearse(recording: "Store", arguments: argparse.Namespace) -> int:
    from exporter.config import load_agent
    from exporter.hostfs import HostFs
    from exporter.interference import rehearsal
    from exporter.interference.needs import take_rules
    from exporter.interference.this_node import this_node
    from exporter.usage.pods import Offline

    offline = Offline(load_agent(arguments.config).usage.offline.cgroups)
    facts = this_node(HostFs())._replace(addresses=None)  # the recording may be another node's
    taken = take_rules(arguments.rules, facts)
    for warning in taken.set.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    fired = 0
    for step in rehearsal.rehearse(recording, taken.set, offline):
        fired += step.what == "fire"
        if step.what != "again":  # it still holds: no transition
            print(rehearsal.line(step))
    ticks = recording.end - recording.first
    print(f"{fired} incidents in {ticks} ticks, {len(taken.set.rules)} rules")
    return 0
