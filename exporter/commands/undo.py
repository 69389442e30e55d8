"""`kernmesh undo`: cgroups as they were before interference's actions, fit for ExecStopPost; with
--nodes, all Nodes of a cluster as they were before anything of ours labelled them.
"""

import argparse
import asyncio
from pathlib import Path

from exporter.commands.flags import config_flag, hostfs, root_flags
from exporter.commands.output import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    config_flag(parser)
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="instead of usage.state_dir of the file"
    )
    root_flags(parser)
    nodes = parser.add_argument_group("what was written to the Kubernetes API")
    nodes.add_argument(
        "--nodes",
        action="store_true",
        help="take away labels, annotations, conditions and taints of ours from every Node, "
        "and leave cgroups alone",
    )
    nodes.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="else as kubectl, or the pod's account"
    )
    nodes.add_argument(
        "--prefix",
        action="append",
        metavar="PREFIX",
        help="keys.prefix where taints have another than kernmesh.io/; repeatable",
    )
    nodes.add_argument(
        "--quiet-for",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="go on until nobody has written any for so long (default 0: look once more and end)",
    )
    nodes.add_argument("--dry-run", action="store_true", help="say what would be taken away")


def run(arguments: argparse.Namespace) -> int:
    if arguments.nodes:
        return 0 if asyncio.run(_nodes(arguments)) else 1
    from exporter.actuator.byhand import undo

    state_dir: str | None
    if arguments.state_dir is not None:  # a broken agent.yaml must not keep anybody from undoing
        state_dir = str(arguments.state_dir)
    else:
        from exporter.config import load_agent

        state_dir = load_agent(arguments.config).usage.state_dir
    return 0 if undo(state_dir, hostfs(arguments), show) else 1


async def _nodes(arguments: argparse.Namespace) -> bool:
    from exporter.clock import SystemClock
    from exporter.kube.access import find_access
    from exporter.kube.client import KubeClient
    from exporter.labeller.cleaning import Cleaning
    from exporter.pressure.marks import Marks

    clock = SystemClock()
    api = KubeClient(find_access(arguments.kubeconfig), clock, role="undo")
    try:
        cleaning = Cleaning(
            *(api, clock, asyncio.sleep, show),
            prefixes=tuple(dict.fromkeys(arguments.prefix or (Marks().prefix,))),
            dry_run=arguments.dry_run,
        )
        clean = await cleaning.run(quiet=arguments.quiet_for)
    finally:
        await api.close()
    if not clean:
        show("something still writes to Nodes, or could not be taken away: see above")
    elif not arguments.dry_run:
        show("no Node has anything of ours")
    return clean


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"got {text}, want 0 to 3600")
    return value
