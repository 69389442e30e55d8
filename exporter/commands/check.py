"""`kernmesh check`: every file that an agent, or a controller, would read, without privilege."""

import argparse
import sys
from pathlib import Path

from exporter.commands.flags import config_flag, web_flag
from exporter.commands.output import told
from exporter.errors import ConfigError, Problem
from exporter.hostfs import HostFs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    config_flag(parser)
    web_flag(parser)
    parser.add_argument(
        "--controller", type=Path, metavar="FILE", help="controller.yaml, instead of an agent's"
    )


def run(arguments: argparse.Namespace) -> int:
    of = _of_agent if arguments.controller is None else _of_controller
    return told(of(arguments))


def _of_controller(arguments: argparse.Namespace) -> list[Problem]:
    from pingmesh.controller_check import check_controller

    return list(check_controller(arguments.controller, arguments.web_config))


def _of_agent(arguments: argparse.Namespace) -> list[Problem]:
    from exporter.config import AgentConfig, load_agent
    from exporter.ebpf.selection import check_all
    from exporter.kube.access import check as check_access
    from exporter.pressure.annotations import check_policy
    from exporter.usage.history import names_of
    from exporter.web.protection import check as check_web
    from pingmesh.start import check as check_pingmesh

    problems: list[Problem] = []
    try:
        config = load_agent(arguments.config)
        if arguments.config is not None:
            problems += check_pingmesh(config.pingmesh, arguments.config)
        problems += check_web(arguments.web_config, config.server.web_config)
        if config.pressure.enabled:
            problems += check_access(
                config.pressure.kubeconfig, arguments.config, "pressure.kubeconfig"
            )
        if config.interference.rules is not None:
            from exporter.interference.needs import take_rules
            from exporter.interference.this_node import this_node

            for warning in take_rules(config.interference.rules, this_node(HostFs())).set.warnings:
                print(f"warning: {warning}", file=sys.stderr)
        if config.usage.jobs_file is not None:
            from exporter.usage.jobs_file import job_patterns

            job_patterns(config.usage.jobs, config.usage.jobs_file)
        for key in config.interference.without_effect():
            print(
                f"warning: {arguments.config}: interference.{key}: has no effect without"
                " interference.rules (default: the rules that come along)",
                file=sys.stderr,
            )
        if config.pressure.crane_policy is not None:
            policy = Path(config.pressure.crane_policy)
            problems += check_policy(policy, names_of(config.usage))
    except ConfigError as error:
        problems += error.problems
        config = AgentConfig()  # what is shipped is checked all the same
    problems += check_all(config.ebpf)
    return problems
