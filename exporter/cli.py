"""The `kernmesh` command: reads flags, calls the role, turns errors into one line and an exit code.

Exit codes: 0 done, 1 something is wrong with the input or the machine, 2 wrong usage (argparse).
Roles are imported when they are asked for, so `kernmesh schema` does not pay for a web server.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from exporter import __version__
from exporter.errors import ConfigError, KernmeshError, Problem
from exporter.hostfs import HostFs


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the console script exits with what it returns."""
    arguments = _parser().parse_args(argv)
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
        _write_no_more()
        return 0
    except OSError as error:  # the output cannot be written, the disk is full
        print(f"kernmesh: {error}", file=sys.stderr)
        _write_no_more()
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def show(text: str) -> None:
    """Prints it; that nobody can read it is no reason to end."""
    try:
        print(text, flush=True)
    except OSError:
        _write_no_more()


def _write_no_more() -> None:
    """What print still holds goes nowhere, or the end of the process would trip over it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kernmesh", allow_abbrev=False, description=__doc__)
    parser.description = "eBPF programs described in YAML and node usage at one Prometheus /metrics"
    parser.add_argument("--version", action="version", version=f"kernmesh {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    agent = commands.add_parser("agent", help="run on a node", allow_abbrev=False)
    _config_flag(agent)
    _web_flags(agent, "replaces server.listen (default :9435)")
    _root_flags(agent)
    _log_flags(agent)
    agent.set_defaults(run=_agent)

    controller = commands.add_parser(
        "controller", help="serve pinglists to agents, and the mesh's page", allow_abbrev=False
    )
    controller.add_argument(
        "--config", type=Path, metavar="FILE", required=True, help="controller.yaml"
    )
    _web_flags(controller, "replaces server.listen (default :9115)")
    _log_flags(controller)
    controller.set_defaults(run=_controller)

    check = commands.add_parser(
        "check", help="read every file, report all problems; needs no privilege", allow_abbrev=False
    )
    _config_flag(check)
    check.set_defaults(run=_check)

    programs = commands.add_parser(
        "programs", help="which hook each program gets on this kernel", allow_abbrev=False
    )
    _config_flag(programs)
    _root_flags(programs)
    programs.add_argument("--json", action="store_true", help="machine-readable")
    programs.set_defaults(run=_programs)

    new = commands.add_parser(
        "new-program", help="write a working pair of files to start from", allow_abbrev=False
    )
    new.add_argument("name", metavar="NAME", help="lower-case, such as tcp-resets")
    new.add_argument(
        "--dir", type=Path, metavar="DIR", help="where to (default: among the shipped programs)"
    )
    new.set_defaults(run=_new_program)

    record = commands.add_parser(
        "record", help="write usage to a file, to try detectors on later", allow_abbrev=False
    )
    record.add_argument("file", type=Path, metavar="FILE")
    record.add_argument(
        "--interval", default="1s", metavar="DURATION", help="between rows (default 1s)"
    )
    record.add_argument(
        "--for", dest="seconds", default="1h", metavar="DURATION", help="how long (default 1h)"
    )
    _config_flag(record)
    _root_flags(record)
    record.set_defaults(run=_record)

    replay = commands.add_parser(
        "replay", help="what a recording, or a file of the agent's, holds", allow_abbrev=False
    )
    replay.add_argument("file", type=Path, metavar="FILE")
    replay.set_defaults(run=_replay)

    schema = commands.add_parser(
        "schema", help="JSON Schema of a file, for editors", allow_abbrev=False
    )
    schema.add_argument("file", choices=("agent", "controller", "inventory", "mesh", "pinglist"))
    schema.set_defaults(run=_schema)

    pinglist = commands.add_parser("pinglist", help="pinglist.yaml", allow_abbrev=False)
    verbs = pinglist.add_subparsers(required=True, metavar="VERB")
    pinglist_check = verbs.add_parser(
        "check", help="read it, report all problems and what it will do", allow_abbrev=False
    )
    pinglist_check.add_argument("file", type=Path, metavar="FILE")
    pinglist_check.set_defaults(run=_pinglist_check)

    probe = commands.add_parser("probe", help="probe one target now", allow_abbrev=False)
    probe.add_argument("target", metavar="TARGET", help="address, name, host:port or URL")
    probe.add_argument("--module", default="", metavar="M", help="icmp, tcp, http, udp, ntp, …")
    probe.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS")
    probe.add_argument("--count", type=int, default=3, metavar="N", help="ICMP or UDP packets")
    probe.set_defaults(run=_probe)
    return parser


def _config_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="agent.yaml; without it the defaults hold"
    )


def _web_flags(parser: argparse.ArgumentParser, replaces: str) -> None:
    parser.add_argument(
        "--web.listen-address",
        dest="listen",
        action="append",
        metavar="ADDR",
        help=f"address to serve on, repeatable; {replaces}",
    )
    parser.add_argument(
        "--web.enable-lifecycle",
        dest="lifecycle",
        action="store_true",
        help="allow a reload by POST /-/reload (SIGHUP always reloads)",
    )


def _log_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=("debug", "info", "warn", "error"),
        default="info",
    )
    parser.add_argument(
        "--log.format", dest="log_format", choices=("logfmt", "json"), default="logfmt"
    )


def _root_flags(parser: argparse.ArgumentParser) -> None:
    for flag, default in (
        ("procfs", "/proc"),
        ("sysfs", "/sys"),
        ("cgroupfs", "/sys/fs/cgroup"),
        ("rootfs", "/"),
    ):
        parser.add_argument(f"--path.{flag}", dest=flag, type=Path, default=Path(default))


def _hostfs(arguments: argparse.Namespace) -> HostFs:
    return HostFs(arguments.procfs, arguments.sysfs, arguments.cgroupfs, arguments.rootfs)


def _agent(arguments: argparse.Namespace) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    from exporter import app, logs

    logs.setup(arguments.log_level, arguments.log_format)
    return app.run(
        app.Options(
            config=arguments.config,
            listen=tuple(arguments.listen or ()),
            lifecycle=arguments.lifecycle,
            host=_hostfs(arguments),
        ),
        show=show,
    )


def _controller(arguments: argparse.Namespace) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    from exporter import logs
    from pingmesh import controller

    logs.setup(arguments.log_level, arguments.log_format)
    return controller.run(
        controller.Options(
            config=arguments.config,
            listen=tuple(arguments.listen or ()),
            lifecycle=arguments.lifecycle,
        ),
        show=show,
    )


def _check(arguments: argparse.Namespace) -> int:
    from exporter.config import AgentConfig, load_agent
    from exporter.ebpf.selection import check_all

    problems: list[Problem] = []
    try:
        config = load_agent(arguments.config)
    except ConfigError as error:
        problems += error.problems
        config = AgentConfig()  # what is shipped is checked all the same
    problems += check_all(config.ebpf)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("ok")
    return 1 if problems else 0


def _programs(arguments: argparse.Namespace) -> int:
    from exporter.config import load_agent
    from exporter.ebpf.selection import survey

    rows, unread = survey(load_agent(arguments.config).ebpf, _hostfs(arguments))
    for problem in unread:
        print(problem, file=sys.stderr)
    if arguments.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return 0
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        print(f"{row.name:{width}}  {row.hook or '-- ' + (row.reason or 'no hook')}")
    return 0


def _new_program(arguments: argparse.Namespace) -> int:
    from exporter.ebpf import newprogram
    from exporter.ebpf.objectfile import shipped_folder

    folder = arguments.dir.resolve() if arguments.dir else shipped_folder()
    for path in newprogram.write(arguments.name, folder):
        print(f"wrote {path}")
    print(newprogram.next_steps(arguments.name, folder))
    return 0


def _record(arguments: argparse.Namespace) -> int:
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
    clock, host = SystemClock(), _hostfs(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    done = record(
        arguments.file,
        clock,
        host,
        all_sources(host, load_agent(arguments.config).usage, clock),
        interval,
        seconds,
        pause=lambda wait: not stop.wait(wait),
    )
    show(f"{arguments.file}: {done.rows} rows of {done.series} series, {done.bytes} bytes")
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    from exporter.usage.record import lines, read

    recording = read(arguments.file)
    for line in lines(recording):
        print(line)
    recording.close()
    return 0


def _schema(arguments: argparse.Namespace) -> int:
    from exporter.config import AgentConfig, schema_of

    if arguments.file == "pinglist":
        from pingmesh.pinglist import Pinglist

        schema = schema_of(Pinglist)
    elif arguments.file == "controller":
        from pingmesh.controller_config import ControllerConfig

        schema = schema_of(ControllerConfig)
    elif arguments.file == "inventory":
        from pingmesh.inventory import InventoryFile

        schema = schema_of(InventoryFile)
    elif arguments.file == "mesh":
        from pingmesh.mesh_reading import MeshJson

        schema = schema_of(MeshJson)
    else:
        schema = schema_of(AgentConfig)
    print(json.dumps(schema, indent=2))
    return 0


def _pinglist_check(arguments: argparse.Namespace) -> int:
    from pingmesh import pinglist

    found = pinglist.read_pinglist(arguments.file)
    for warning in pinglist.warnings(found):
        print(f"{arguments.file}: warning: {warning}", file=sys.stderr)
    print(f"ok: {pinglist.summary(found)}")
    return 0


def _probe(arguments: argparse.Namespace) -> int:
    import asyncio

    from pingmesh import ondemand
    from pingmesh.guard import Guard

    if not (0 < arguments.timeout <= ondemand.LONGEST_TIMEOUT and 0 < arguments.count <= 1000):
        raise KernmeshError("--timeout is more than 0 and at most 30, --count from 1 to 1000")
    report = asyncio.run(
        ondemand.ask(
            arguments.target, arguments.module, Guard(), arguments.timeout, arguments.count
        )
    )
    print(ondemand.screen(report))
    return 1 if report.reason else 0


if __name__ == "__main__":
    sys.exit(main())
