"""`kernmesh probe`: one target, now."""

import argparse

from exporter.errors import KernmeshError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="address, name, host:port or URL")
    parser.add_argument("--module", default="", metavar="M", help="icmp, tcp, http, udp, ntp, …")
    parser.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="ICMP or UDP packets")


def run(arguments: argparse.Namespace) -> int:
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
