"""Probes that make a connection or hold a dialogue, by kind; each is imported when a list needs it.

ICMP and UDP echo are not here: packetlane.py sends those for all targets over a few sockets.
"""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import NamedTuple, cast

from pingmesh.pinglist import Kind
from pingmesh.probe import Outcome, Probe


class Way(NamedTuple):
    """How to reach the target: a numeric `address` that the guard let pass, the address to send
    from ("" leaves it to the kernel), and when to give up (the loop's clock)."""

    address: str
    source: str
    deadline: float


Run = Callable[[Probe, Way], Awaitable[Outcome]]
"""A round trip or a reason, never neither. May raise OSError and TimeoutError, nothing else."""

_MODULES: dict[Kind, str] = {
    "tcp": "pingmesh.probes.tcp",
    "dns": "pingmesh.probes.dns",
    "http": "pingmesh.probes.http",
    "ntp": "pingmesh.probes.ntp",
    "kube-apiserver": "pingmesh.probes.apiserver",
}


def runner(kind: Kind) -> Run:
    """The `run` of this kind's module."""
    return cast(Run, import_module(_MODULES[kind]).run)
