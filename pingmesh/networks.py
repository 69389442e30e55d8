"""All pinglists there are: those of the nodes, and those of the pods that probe from their network.

The rule: the two never probe each other; what one of them is waiting for does not hold up the
other. Pure: members in, lists out.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from pingmesh.controller_config import ControllerConfig, TopologyRules
from pingmesh.inventory import Network
from pingmesh.lists import Lists, Shared, custom_targets
from pingmesh.optedin import choose_probers, most_per_prober
from pingmesh.pinglist import Pinglist
from pingmesh.topology import Member, Topology

_TYPES: Mapping[Network, Literal["NodeIP", "PodIP"]] = {"nodes": "NodeIP", "pods": "PodIP"}


class Made(NamedTuple):
    """One network's lists. `made_of` is what else of the same would make the same. `opted_in`
    members are probed besides, but for those that are `unprobed`: nobody has room for them, or is
    anywhere else than they are."""

    lists: Lists
    made_of: object = None
    opted_in: int = 0
    unprobed: int = 0


class Networks(NamedTuple):
    """Those whose members are known. `waiting`: some members are not, so who is not found may be
    one."""

    made: Mapping[Network, Made] = MappingProxyType({})
    waiting: bool = True

    def lists(self, network: Network) -> Lists | None:
        return self.made[network].lists if network in self.made else None

    def of(self, name: str) -> Lists | None:
        """Where this agent's list is; None for a name that is none."""
        return next((each for each in self.known if name in each.topology), None)

    @property
    def known(self) -> Sequence[Lists]:
        return [each.lists for each in self.made.values()]


def make_networks(
    config: ControllerConfig,
    custom: Pinglist,
    found: Mapping[Network, Sequence[Member] | None],
    before: Networks,
) -> Networks:
    """`found` None: not known yet, and what there is stays until it is. So does what has not
    changed since `before`."""
    shared = Shared(config.setting, config.probing, custom.mesh)
    shed = custom_targets(custom)
    made: dict[Network, Made] = {}
    for network, there in found.items():
        old = before.made.get(network)
        if there is not None:
            of_network = shared._replace(type_=_TYPES[network])
            made[network] = _make(config.topology, of_network, shed, there, old)
        elif old is not None:
            made[network] = old
    networks = Networks(made, any(members is None for members in found.values()))
    for lists in networks.known:  # so that no agent's request is the one that waits
        for id_ in lists.topology.racks:
            lists.topology.plan(id_)
    return networks


def _make(
    config: TopologyRules, shared: Shared, shed: int, there: Sequence[Member], old: Made | None
) -> Made:
    made_of = there, config, shared
    if old is not None and old.made_of == made_of:
        return old
    lent = old.lists if old else None
    probers = [each for each in there if each.agent]
    targets = [each for each in there if not each.agent]
    bound = most_per_prober(len(targets), len(probers), config.max_targets // 2)
    rules = config.rules(shed + bound)
    topology = Topology(probers, rules, lent.topology if lent else None)
    chosen = choose_probers(topology.racks, targets, bound)
    lists = Lists(topology, shared, lent, chosen.ties)
    return Made(lists, made_of, len(targets), chosen.unprobed)
