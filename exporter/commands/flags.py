"""Flags that several commands have, and what they mean."""

import argparse
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.hostfs import HostFs

if TYPE_CHECKING:
    from exporter.role import Options


def config_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="agent.yaml; without it the defaults hold"
    )


def root_flags(parser: argparse.ArgumentParser) -> None:
    for flag, default in (
        ("procfs", "/proc"),
        ("sysfs", "/sys"),
        ("cgroupfs", "/sys/fs/cgroup"),
        ("rootfs", "/"),
    ):
        parser.add_argument(f"--path.{flag}", dest=flag, type=Path, default=Path(default))


def hostfs(arguments: argparse.Namespace) -> HostFs:
    """What root_flags were set to; the machine's own where a command has none."""
    if not hasattr(arguments, "procfs"):
        return HostFs()
    return HostFs(arguments.procfs, arguments.sysfs, arguments.cgroupfs, arguments.rootfs)


def role_flags(parser: argparse.ArgumentParser, listen: str) -> None:
    """What every role has besides its --config; `listen` is its default address."""
    parser.add_argument(
        "--web.listen-address",
        dest="listen",
        action="append",
        metavar="ADDR",
        help=f"address to serve on, repeatable; replaces server.listen (default {listen})",
    )
    web_flag(parser)
    parser.add_argument(
        "--web.enable-lifecycle",
        dest="lifecycle",
        action="store_true",
        help="allow a reload by POST /-/reload (SIGHUP always reloads)",
    )
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=("debug", "info", "warn", "error"),
        default="info",
    )
    parser.add_argument(
        "--log.format", dest="log_format", choices=("logfmt", "json"), default="logfmt"
    )


def web_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--web.config.file",
        dest="web_config",
        type=Path,
        metavar="FILE",
        help="TLS, users and headers, as Prometheus' exporters read it; replaces server.web_config",
    )


def role_options(arguments: argparse.Namespace) -> "Options":
    """What role_flags were set to. The log is set up, and SIGHUP ends nothing, from here on."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    from exporter import logs
    from exporter.role import Options
    from exporter.service import Service
    from exporter.web.inherited import inherited

    logs.setup(arguments.log_level, arguments.log_format)
    return Options(
        config=arguments.config,
        listen=tuple(arguments.listen or ()),
        web_config=arguments.web_config,
        lifecycle=arguments.lifecycle,
        host=hostfs(arguments),
        inherited=tuple(inherited(os.environ, os.getpid())),
        service=Service.taken_from(os.environ, os.getpid()),
    )
