"""`kernmesh record`: usage of this machine to a file."""

import argparse
import signal
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from exporter.commands.flags import config_flag, hostfs, root_flags
from exporter.commands.output import show
from exporter.errors import KernmeshError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--interval", default="1s", metavar="DURATION", help="between rows (default 1s)"
    )
    parser.add_argument(
        "--for", dest="seconds", default="1h", metavar="DURATION", help="how long (default 1h)"
    )
    parser.add_argument(
        "--cgroups",
        action="store_true",
        help="also all that interference rules can ask of each pod's cgroup, waits for a CPU"
        " among it where kernel programs may run (root)",
    )
    config_flag(parser)
    root_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    import threading

    from exporter.clock import SystemClock
    from exporter.config import load_agent
    from exporter.config.scalars import Duration
    from exporter.usage.record import all_sources, record

    spans = []
    for flag, text in (("--interval", arguments.interval), ("--for", arguments.seconds)):
        try:
            spans.append(float(Duration(text)))
        except ValueError as error:
            raise KernmeshError(f"{flag}: {error}, got {text}, want {Duration.want}") from None
    interval, seconds = spans
    if not 0.1 <= interval <= seconds:
        raise KernmeshError("--interval: want at least 100ms, and at most what --for says")
    clock, host = SystemClock(), hostfs(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    config = load_agent(arguments.config)
    with ExitStack() as stack:
        if arguments.cgroups:
            from exporter.interference.recording import Looking

            looking = stack.enter_context(closing(Looking(config, clock, host)))
            for problem in looking.problems():
                print(problem, file=sys.stderr)
            sources = all_sources(host, config.usage, clock, looking.sources)
        else:
            sources = all_sources(host, config.usage, clock)
        done = record(
            arguments.file,
            clock,
            host,
            sources,
            interval,
            seconds,
            pause=lambda wait: not stop.wait(wait),
        )
    show(f"{arguments.file}: {done.rows} rows of {done.series} series, {done.bytes} bytes")
    return 0
