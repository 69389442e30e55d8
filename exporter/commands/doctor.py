"""`kernmesh doctor`: what this machine has of what the configuration wants, and the mends."""

import argparse

from exporter.commands.flags import config_flag, hostfs, root_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    config_flag(parser)
    root_flags(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(arguments: argparse.Namespace) -> int:
    import shutil

    from exporter.config import load_agent
    from exporter.doctor import examine
    from exporter.doctor.asking import ask
    from exporter.doctor.machine import Machine
    from exporter.doctor.screen import as_json, screen
    from exporter.doctor.wants import wants_of

    config, host = load_agent(arguments.config), hostfs(arguments)
    lines = examine(Machine(host, wants_of(config, host), ask(config, host)))
    width = shutil.get_terminal_size((100, 40)).columns
    print(as_json(lines) if arguments.json else screen(lines, width))
    return 1 if any(line.failing for line in lines) else 0
