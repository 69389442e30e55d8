"""Where the agents are: by EndpointSlices of a Service, by a list, or at their nodes' addresses.

Pure. A node whose agent is nowhere is asked nothing, so nothing is known of it.
"""

from collections.abc import Iterable, Mapping

from exporter.kube.api import Object
from exporter.labeller.agent_source import Place
from exporter.labeller.config import Agents
from exporter.labeller.nodes import Known

SERVICE_LABEL = "kubernetes.io/service-name"
_HOSTNAME = "kubernetes.io/hostname"


def of_slice(found: Object) -> Mapping[str, Place]:
    """Agents by node of one EndpointSlice (docs/concepts/services-networking/endpoint-slices). In
    v1beta1 the node may be said by topology alone. Raises KeyError and such for what is none."""
    ports = [each.get("port") for each in found.get("ports") or ()]
    port = next((each for each in ports if isinstance(each, int)), None)
    places: dict[str, Place] = {}
    if port is None:
        return places
    for each in found.get("endpoints") or ():
        node = each.get("nodeName") or (each.get("topology") or {}).get(_HOSTNAME)
        addresses = each.get("addresses") or ()
        if node and addresses:  # also one that is not ready: it may answer
            places[str(node)] = Place(str(addresses[0]), port)
    return places


def places(
    config: Agents, nodes: Mapping[str, Known], slices: Iterable[Mapping[str, Place]]
) -> Mapping[str, Place]:
    """By node; only of nodes that there are."""
    if config.service is not None:
        found: dict[str, Place] = {}
        for each in slices:
            found.update(each)
    elif config.addresses:
        found = {node: Place(at.host, at.port) for node, at in config.addresses.items()}
    else:
        found = {
            name: Place(known.address, config.port)
            for name, known in nodes.items()
            if known.address
        }
    return {node: place for node, place in found.items() if node in nodes}
