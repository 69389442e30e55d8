"""The `kernmesh` command: the table of commands, and errors turned into one line and an exit code.

Exit codes: 0 done, 1 something is wrong with the input or the machine, 2 wrong usage (argparse).
A command's module is imported when that command is called, so `--help` pays for none.
"""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple

from exporter import __revision__, __version__
from exporter.commands.output import write_no_more
from exporter.errors import ConfigError, KernmeshError


class Command(NamedTuple):
    """`module` has add_arguments(parser) and run(arguments) -> exit code."""

    name: str
    help: str
    module: str


COMMANDS = (
    Command("agent", "run on a node", "exporter.commands.agent"),
    Command(
        "controller",
        "serve pinglists to agents, and the mesh's page",
        "exporter.commands.controller",
    ),
    Command(
        "labeller",
        "label nodes under pressure, for the whole cluster",
        "exporter.commands.labeller",
    ),
    Command(
        "check",
        "read every file, report all problems; needs no privilege",
        "exporter.commands.check",
    ),
    Command(
        "programs", "which hook each program gets on this kernel", "exporter.commands.programs"
    ),
    Command(
        "new-program",
        "write a working pair of files to start from",
        "exporter.commands.new_program",
    ),
    Command(
        "record", "write usage to a file, to try detectors on later", "exporter.commands.record"
    ),
    Command(
        "replay", "what a recording, or a file of the agent's, holds", "exporter.commands.replay"
    ),
    Command("schema", "JSON Schema of a file, for editors", "exporter.commands.schema"),
    Command("pinglist", "pinglist.yaml", "exporter.commands.pinglist"),
    Command("rules", "interference rules", "exporter.commands.rules"),
    Command("probe", "probe one target now", "exporter.commands.probe"),
    Command("dashboards", "Grafana dashboards", "exporter.commands.dashboards"),
    Command("top", "an agent, live in this terminal", "exporter.commands.top"),
    Command(
        "doctor", "what this machine has, lacks, and how to mend that", "exporter.commands.doctor"
    ),
    Command("undo", "put back what was changed for interference's sake", "exporter.commands.undo"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the console script exits with what it returns."""
    arguments = _parse(sys.argv[1:] if argv is None else argv)
    try:
        return int(arguments.run(arguments))
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 1
    except KernmeshError as error:
        print(f"kernmesh: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `kernmesh schema agent | head`: the reader has had enough
        write_no_more()
        return 0
    except OSError as error:  # the output cannot be written, the disk is full
        print(f"kernmesh: {error}", file=sys.stderr)
        write_no_more()
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kernmesh", allow_abbrev=False)
    parser.description = "eBPF programs described in YAML and node usage at one Prometheus /metrics"
    commit = __revision__[:10]  # which a version between releases has in it
    version = f"kernmesh {__version__}" + (f" ({commit})" if commit not in __version__ else "")
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    called = next((word for word in argv if not word.startswith("-")), None)
    for name, text, module in COMMANDS:
        command = commands.add_parser(name, help=text, allow_abbrev=False)
        if name == called:
            found = importlib.import_module(module)
            found.add_arguments(command)
            command.set_defaults(run=found.run)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
