"""`kernmesh controller`."""

import argparse
from pathlib import Path

from exporter.commands.flags import role_flags, role_options
from exporter.commands.output import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", required=True, help="controller.yaml"
    )
    role_flags(parser, ":9115")


def run(arguments: argparse.Namespace) -> int:
    options = role_options(arguments)
    from pingmesh.controller import run_controller

    return run_controller(options, show)
