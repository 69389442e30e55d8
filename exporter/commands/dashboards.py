"""`kernmesh dashboards build`: Grafana dashboards, the shipped ones or one for any program."""

import argparse
import re
from pathlib import Path

_PREFIX = "ebpf_exporter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    build = actions.add_parser("build", help="write dashboards that Grafana imports")
    build.add_argument(
        "--program",
        type=Path,
        action="append",
        metavar="YAML",
        help="one dashboard for this program, instead of the shipped ones (repeatable)",
    )
    build.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="where to (default: here)"
    )
    build.add_argument(
        "--prefix", default=_PREFIX, help=f"ebpf.prefix of the agents (default: {_PREFIX})"
    )


def run(arguments: argparse.Namespace) -> int:
    from exporter.dashboards.programs import drawn, shipped
    from exporter.dashboards.render import PROGRAM, names, render
    from exporter.ebpf.objectfile import shipped_folder
    from exporter.ebpf.spec import read_program
    from exporter.errors import KernmeshError

    prefix, out = arguments.prefix, arguments.out
    if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", prefix):
        raise KernmeshError(
            f"--prefix: not a metric's name, got {prefix!r}, want such as {_PREFIX}"
        )
    texts: dict[str, str] = {}
    if arguments.program:
        for path in arguments.program:
            program = drawn(read_program(path), prefix)
            if not program.metrics:
                raise KernmeshError(f"{path}: has no metrics, only spans: nothing to draw")
            texts[f"program-{program.name}"] = render(PROGRAM, prefix, [program])
    else:
        programs = shipped(shipped_folder(), prefix)
        texts = {name: render(name, prefix, programs) for name in names()}
    for name, text in texts.items():
        file = out / f"{name}.json"
        try:
            out.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        except OSError as error:
            raise KernmeshError(f"{file}: cannot be written: {error.strerror}") from error
        print(f"wrote {file}")
    return 0
