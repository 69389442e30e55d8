"""Nodes and pods as the Kubernetes API has them, reduced to what members are made of. Pure.

The rule: an object that nobody could probe is left out and counted by its reason; which of two
wins never depends on who came first, so that every replica says the same. Fields are those of
docs/reference/kubernetes-api (node-v1, pod-v1).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from exporter.kube.api import Object
from pingmesh.address import family_of
from pingmesh.topology import Member

# docs/concepts/overview/working-with-objects/names: DNS subdomain names.
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?")
# docs/concepts/overview/working-with-objects/labels: values of labels.
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class NodeSeen(NamedTuple):
    """`created` is the API's timestamp, which sorts as text. Without `addresses` it is known, and
    left out. Whether it is Ready is not kept: a node that is not is the one to look at."""

    name: str
    zone: str
    rack: str
    addresses: tuple[str, ...]
    created: str


class PodSeen(NamedTuple):
    """`trouble` is why it cannot be probed, "" where it can."""

    namespace: str
    name: str
    node: str
    addresses: tuple[str, ...]
    trouble: str = ""


class Found(NamedTuple):
    """`left_out` counts objects by reason. `made` lends members to the next time: a list of ten
    thousand that are one object each is compared in no time."""

    members: tuple[Member, ...] = ()
    left_out: Mapping[str, int] = MappingProxyType({})
    made: "Mapping[NodeSeen | PodSeen, Member]" = MappingProxyType({})


NOTHING = Found()


def node_reducer(zone_labels: Sequence[str], rack_label: str) -> Callable[[Object], NodeSeen]:
    """The zone is the first of its labels that is there; what is missing is "". A node is probed
    at its InternalIPs, at its ExternalIPs only where it has none. Raises as a cache takes it
    (TypeError, ValueError …) where the object is no node."""

    def reduce(found: Object) -> NodeSeen:
        meta = found["metadata"]
        labels = meta.get("labels") or {}
        zone = next((labels[key] for key in zone_labels if labels.get(key)), "")
        rows = (found.get("status") or {}).get("addresses") or ()
        by_type: dict[str, dict[str, None]] = {"InternalIP": {}, "ExternalIP": {}}
        for row in rows:
            if row.get("type") in by_type and _is_address(row.get("address")):
                by_type[row["type"]][row["address"]] = None
        return NodeSeen(
            _text(_NAME, meta["name"]),
            _text(_VALUE, zone),
            _text(_VALUE, labels.get(rack_label) or ""),
            tuple(by_type["InternalIP"] or by_type["ExternalIP"]),
            str(meta.get("creationTimestamp") or ""),
        )

    return reduce


def pod_of(found: Object) -> PodSeen:
    """Raises as node_reducer's."""
    meta, spec = found["metadata"], found.get("spec") or {}
    status = found.get("status") or {}
    rows = status.get("podIPs") or [{"ip": status.get("podIP")}]
    addresses = tuple(dict.fromkeys(row["ip"] for row in rows if _is_address(row.get("ip"))))
    if spec.get("hostNetwork"):
        trouble = "host network"
    elif meta.get("deletionTimestamp") or status.get("phase") in ("Succeeded", "Failed"):
        trouble = "ended"
    else:
        trouble = "" if addresses else "no address"
    return PodSeen(
        _text(_NAME, meta["namespace"]),
        _text(_NAME, meta["name"]),
        str(spec.get("nodeName") or ""),
        # Of what is left out nothing need be kept, nor told when it changes.
        () if trouble else addresses,
        trouble,
    )


def node_members(nodes: Sequence[NodeSeen], before: Found = NOTHING) -> Found:
    """An address that two nodes claim is the younger one's: the older is about to be removed."""
    left_out: Counter[str] = Counter()
    taken: set[str] = set()
    for node in nodes:
        taken.update(node.addresses)
    if len(taken) < sum(len(node.addresses) for node in nodes):
        nodes = list(_without_clashes(nodes, left_out))
    made: dict[NodeSeen | PodSeen, Member] = {
        node: before.made.get(node) or Member(node.name, node.zone, node.rack, node.addresses)
        for node in nodes
        if node.addresses
    }
    if empty := len(nodes) - len(made):
        left_out["no address"] += empty
    return Found(tuple(sorted(made.values(), key=_name_of)), left_out, made)


def _without_clashes(nodes: Iterable[NodeSeen], left_out: Counter[str]) -> Iterator[NodeSeen]:
    taken: set[str] = set()
    for node in sorted(nodes, key=lambda each: (each.created, each.name), reverse=True):
        addresses = tuple(each for each in node.addresses if each not in taken)
        taken.update(addresses)
        if node.addresses and not addresses:
            left_out["address of another"] += 1
        else:
            yield node._replace(addresses=addresses)


def pod_members(
    nodes: Iterable[NodeSeen],
    probers: Iterable[PodSeen],
    opted_in: Iterable[PodSeen],
    before: Found = NOTHING,
) -> Found:
    """Probers are agents by their pods' names; pods that opted in are targets. Zone and rack are
    those of the node that they run on, which is their host."""
    places = {node.name: node for node in nodes}
    left_out: Counter[str] = Counter()
    made: dict[NodeSeen | PodSeen, Member] = {}
    agents: set[tuple[str, str]] = set()
    names: set[str] = set()
    for agent, pods in ((True, probers), (False, opted_in)):
        for pod in sorted(pods):
            key = pod.namespace, pod.name
            place = places.get(pod.node)
            if key in agents:  # a prober that opts in is one already
                continue
            if agent:
                agents.add(key)
            trouble = pod.trouble or ("" if place else "on no known node")
            if agent and not trouble and (pod.name in names or pod.name in places):
                trouble = "name of another"
            if trouble or place is None:
                left_out[trouble] += 1
                continue
            name = pod.name if agent else f"{pod.namespace}/{pod.name}"
            names.add(name)
            old = before.made.get(pod)
            if old is None or (old.zone, old.rack, old.agent) != (place.zone, place.rack, agent):
                old = Member(name, place.zone, place.rack, pod.addresses, place.name, agent=agent)
            made[pod] = old
    return Found(tuple(made.values()), left_out, made)


def _name_of(member: Member) -> str:
    return member.name


def _is_address(text: Any) -> bool:
    return isinstance(text, str) and family_of(text) is not None


def _text(pattern: re.Pattern[str], text: Any) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(f"no name or label's value: {text!r:.80}")
    return text
