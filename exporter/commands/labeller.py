"""`kernmesh labeller`: by labeller.yaml, or by dynamicScheduler's flags as they are."""

import argparse
from pathlib import Path

from exporter.commands.flags import role_flags, role_options
from exporter.commands.output import show, told
from exporter.errors import KernmeshError

_FLAGS = ("kubeconfig", "prom", "rules", "seconds", "webaddr")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="labeller.yaml")
    parser.add_argument(
        "--check", action="store_true", help="read every file, report all problems, and end"
    )
    role_flags(parser, ":9000")
    old = parser.add_argument_group("dynamicScheduler's flags, instead of --config")
    # Go takes one dash or two.
    old.add_argument("-kubeconfig", "--kubeconfig", metavar="FILE", help="default: as kubectl")
    old.add_argument("-prom", "--prom", metavar="URL", help="Prometheus")
    old.add_argument("-r", "--r", dest="rules", metavar="FILE", help="rule.yaml")
    old.add_argument("-s", "--s", dest="seconds", metavar="N", help="seconds per loop (default 10)")
    old.add_argument("-webaddr", "--webaddr", metavar="ADDR", help="default :9000")


def run(arguments: argparse.Namespace) -> int:
    from exporter.labeller.checking import check_labeller
    from exporter.labeller.config import Flags, from_flags
    from exporter.labeller.role import Given, read, run_labeller

    given_flags = [name for name in _FLAGS if getattr(arguments, name) is not None]
    if arguments.config is not None and given_flags:
        raise KernmeshError("--config and dynamicScheduler's flags: want one of both")
    if arguments.config is not None:
        given = read(arguments.config)
    elif arguments.prom is None or arguments.rules is None:
        raise KernmeshError("want --config labeller.yaml, or dynamicScheduler's -prom and -r")
    else:
        flags = Flags(
            kubeconfig=arguments.kubeconfig or "",
            prom=arguments.prom,
            rules=arguments.rules,
            seconds=arguments.seconds or "10",
            webaddr=arguments.webaddr or ":9000",
        )
        given = Given(from_flags(flags), "flags")
    if arguments.check:
        file = Path(given.file)
        return told(list(check_labeller(given.config, file, arguments.web_config)))
    return run_labeller(role_options(arguments), given, show)
