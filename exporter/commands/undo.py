"""`kernmesh undo`: cgroups as they were before interference's actions. Fit for ExecStopPost."""

import argparse
from pathlib import Path

from exporter.commands.flags import config_flag, hostfs, root_flags
from exporter.commands.output import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    config_flag(parser)
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="instead of usage.state_dir of the file"
    )
    root_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    from exporter.actuator.byhand import undo

    state_dir: str | None
    if arguments.state_dir is not None:  # a broken agent.yaml must not keep anybody from undoing
        state_dir = str(arguments.state_dir)
    else:
        from exporter.config import load_agent

        state_dir = load_agent(arguments.config).usage.state_dir
    return 0 if undo(state_dir, hostfs(arguments), show) else 1
