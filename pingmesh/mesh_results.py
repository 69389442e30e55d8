"""What is asked of agents, and the seam for ways to ask it: each gives one Report per agent.

Names of the agents' metrics are here and nowhere else on the controller's side. Knows no HTTP.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from pingmesh.controller_config import MeshConfig
from pingmesh.mesh import Report
from pingmesh.topology import RackId

PROBES, LOST, RTT = "pingmesh_probes_total", "pingmesh_lost_total", "pingmesh_rtt_seconds_bucket"
FAIL, STAMP = "pingmesh_fail", "pingmesh_last_round_timestamp_seconds"
NAMES = (PROBES, LOST, RTT, FAIL, STAMP)

_MOST_COUNT = 2.0**64

Labels = Mapping[str, str]


class Asked(NamedTuple):
    """Whom to ask for what: addresses by agent, the racks by the labels (zone, rack) that their
    targets carry, and the probe that the mesh is made of."""

    addresses: Mapping[str, str]
    racks: Mapping[tuple[str, str], RackId]
    probe: str


def rack_of(labels: Labels, asked: Asked) -> RackId | None:
    """The rack that a series speaks of; None where it is none of the mesh's."""
    if labels.get("probe", asked.probe) != asked.probe:
        return None
    return asked.racks.get((labels.get("target_zone", ""), labels.get("target_rack", "")))


def is_count(value: float) -> bool:
    """Whether a counter may say so: no NaN, nothing below 0 or beyond 64 bits. One agent that says
    +Inf must not be in everybody's sums."""
    return 0 <= value < _MOST_COUNT


def recent_of(config: MeshConfig) -> float:
    """Seconds: what counts as now."""
    return max(config.window / 5, 3 * config.every)


class Results(Protocol):
    """A way to get reports; `problem` is why there are none at all, None while there are."""

    problem: str | None

    async def read(self, asked: Asked) -> Mapping[str, Report]:
        """By agent; who is silent is not in it."""

    async def close(self) -> None: ...
