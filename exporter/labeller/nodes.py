"""Nodes as the labeller keeps them: what stands on each, and the names by which others know it.

Pure. An `instance` of Prometheus is an address or a name, with a port or without.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from exporter.kube.api import Object
from exporter.pressure.marks import Marks
from exporter.pressure.standing import Standing, look

MANAGER = "kernmesh-labeller"


class Known(NamedTuple):
    """`address` is the node's InternalIP, "" without one; `names` are all of its addresses and
    host names. `pods` and such are not kept: there may be thousands of nodes. `beat` is the
    heartbeat of an agent that marks its own node, "" without one."""

    standing: Standing
    address: str
    names: tuple[str, ...]
    beat: str = ""


def reduced(node: Object, marks: Marks) -> Known:
    """Raises KeyError and such for what is no Node."""
    rows = node.get("status", {}).get("addresses") or ()
    pairs = [(str(each.get("type", "")), str(each.get("address", ""))) for each in rows]
    internal = next((address for kind, address in pairs if kind == "InternalIP"), "")
    annotations = node["metadata"].get("annotations") or {}
    return Known(
        look(node, MANAGER, marks),
        internal,
        tuple(dict.fromkeys(address for _, address in pairs if address)),
        str(annotations.get(marks.heartbeat_key, "")),
    )


def host_of(instance: str) -> str:
    """Without its port, and an IPv6 address without its brackets."""
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    return instance if instance.count(":") > 1 else instance.partition(":")[0]


def by_name(nodes: Iterable[tuple[str, Known]]) -> Mapping[str, str]:
    """Nodes' names by all that they are called. A node's own name counts more than another's
    address, and what two nodes are called names neither."""
    found: dict[str, str] = {}
    shared: set[str] = set()
    own: dict[str, str] = {}
    for name, known in nodes:
        own[name] = name
        for alias in known.names:
            if found.setdefault(alias, name) != name:
                shared.add(alias)
    return {alias: name for alias, name in found.items() if alias not in shared} | own
