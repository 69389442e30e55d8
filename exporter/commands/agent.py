"""`kernmesh agent`."""

import argparse

from exporter.commands.flags import config_flag, role_flags, role_options, root_flags
from exporter.commands.output import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    config_flag(parser)
    role_flags(parser, ":9435")
    root_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    options = role_options(arguments)
    from exporter.app import run_agent

    return run_agent(options, show)
