"""All pinglists there are: those of the nodes, and those of the pods that probe from their network.

The rule: the two never probe each other; what one of them is waiting for does not hold up the
other. Pure: members in, lists out.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from pingmesh.controller_config import ControllerConfig
from pingmesh.inventory import Network
from pingmesh.lists import Lists, Shared, custom_targets
from pingmesh.optedin import choose_probers, most_per_prober
from pingmesh.pinglist import Pinglist
from pingmesh.topology import Member, Topology


class Networks(NamedTuple):
    """None: its members are not known yet, or there is no such network. `waiting`: some members
    are not known yet, so who is not found may be one. `opted_in` pods are probed besides, but for
    those that are `unprobed`: nobody has room for them, or is anywhere else than they are.
    `made_of` is what else of the same would make the same."""

    nodes: Lists | None = None
    pods: Lists | None = None
    waiting: bool = True
    opted_in: int = 0
    unprobed: int = 0
    made_of: Mapping[Network, object] = MappingProxyType({})

    def of(self, name: str) -> Lists | None:
        """Where this agent's list is; None for a name that is none."""
        for lists in (self.nodes, self.pods):
            if lists is not None and name in lists.topology:
                return lists
        return None

    @property
    def known(self) -> Sequence[Lists]:
        return [each for each in (self.nodes, self.pods) if each is not None]


def make_networks(
    config: ControllerConfig,
    custom: Pinglist,
    found: Mapping[Network, Sequence[Member] | None],
    before: Networks,
) -> Networks:
    """`found` None: not known yet. What has not changed since `before` is taken over."""
    shared = Shared(config.setting, config.probing, custom.mesh)
    shed = custom_targets(custom)
    nodes = pods = None
    made_of: dict[Network, object] = {}
    opted_in = unprobed = 0
    if (there := found.get("nodes")) is not None:
        made_of["nodes"] = there, config.topology, shared
        old = nodes = before.nodes
        if old is None or before.made_of.get("nodes") != made_of["nodes"]:
            rules = config.topology.rules(shed)
            nodes = Lists(Topology(there, rules, old.topology if old else None), shared, old)
    if (there := found.get("pods")) is not None:
        made_of["pods"] = there, config.topology, shared
        old = pods = before.pods
        opted_in, unprobed = before.opted_in, before.unprobed
        if old is None or before.made_of.get("pods") != made_of["pods"]:
            probers = [each for each in there if each.agent]
            targets = [each for each in there if not each.agent]
            bound = most_per_prober(len(targets), len(probers), config.topology.max_targets // 2)
            rules = config.topology.rules(shed + bound)
            topology = Topology(probers, rules, old.topology if old else None)
            chosen = choose_probers(topology.racks, targets, bound)
            pods = Lists(topology, shared._replace(type_="PodIP"), old, chosen.ties)
            opted_in, unprobed = len(targets), chosen.unprobed
    waiting = any(members is None for members in found.values())
    made = Networks(nodes, pods, waiting, opted_in, unprobed, made_of)
    for lists in made.known:  # so that no agent's request is the one that waits
        for id_ in lists.topology.racks:
            lists.topology.plan(id_)
    return made
