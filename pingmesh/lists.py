"""An agent's pinglist as bytes: what the topology says, with the setting and the custom groups.

The rule: the same members and settings give the same bytes, on every replica and after every
restart; so their hash is a strong validator. Scalars are written as JSON strings, which YAML reads
alike. Knows no HTTP.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from exporter.config import Duration
from pingmesh.address import family_of
from pingmesh.controller_config import Probing
from pingmesh.pinglist import Group, Pinglist, Setting
from pingmesh.topology import Member, RackId, Ties, Topology

_FAMILY = {"ip4": 2, "ip6": 10}  # AF_INET, AF_INET6 on Linux


class Shared(NamedTuple):
    """What all lists have in common. `custom` groups are every agent's, by key. `type_` is what
    agents are to each other."""

    setting: Setting = Setting()
    probing: Probing = Probing()
    custom: Mapping[str, Group] = {}
    type_: Literal["NodeIP", "PodIP"] = "NodeIP"


class Lists:
    """All lists of one topology, made when asked for; only digests are kept. `before` lends what
    was written about racks that are the same. `besides` are pods that an agent probes outside the
    topology, by its name: always by icmp, and as with custom targets no rack is blamed for them."""

    def __init__(
        self,
        topology: Topology,
        shared: Shared,
        before: "Lists | None" = None,
        besides: Mapping[str, Sequence[Ties]] = MappingProxyType({}),
    ) -> None:
        self.topology = topology
        self.shared = shared
        same = before is not None and before.shared == shared
        self._digests: dict[str, str] = {}
        self._heads: dict[RackId, str] = before._heads if same and before else {}
        self._quoted: dict[tuple[str, ...], str] = before._quoted if same and before else {}
        if len(self._quoted) > 2 * len(topology) + 1000:  # of members long gone
            self._quoted = {}
        self._lines: dict[int, tuple[Ties, str]] = {}
        self._everybodys: dict[str, Any] = plain(shared.setting)
        self._besides = besides
        self._taken = {str(id_) for id_ in topology.racks}
        self._taken |= {_besides_key(tie.rack) for ties in besides.values() for tie in ties}
        self._tail = "".join(
            f"  {json.dumps(self._custom_key(key))}: {json.dumps(plain(group))}\n"
            for key, group in shared.custom.items()
        )

    def digest(self, name: str) -> str:
        """Names the content of this agent's list. Raises KeyError for a name that is none."""
        found = self._digests.get(name)
        if found is None:
            found = hashlib.blake2b(self.yaml(name), digest_size=12).hexdigest()
            self._digests[name] = found
        return found

    def yaml(self, name: str) -> bytes:
        """Raises KeyError."""
        topology = self.topology
        member = topology.member(name)
        own = member.rack_id
        pieces = [f"setting: {json.dumps(self._setting(member))}\nmesh:\n"]
        ties = topology.ties(name)
        for tie in ties:
            # Most ties are one object for a whole zone's i-th nodes: each is written once.
            known = self._lines.get(id(tie))
            if known is None or known[0] is not tie:
                known = (tie, self._line(tie))
                if tie.rack != own:
                    self._lines[id(tie)] = known
            pieces.append(known[1])
        besides = self._besides.get(name, ())
        for tie in besides:
            group = json.dumps(self._besides_group(tie))
            pieces.append(f"  {json.dumps(_besides_key(tie.rack))}: {group}\n")
        pieces.append(self._tail)
        if not ties and not besides and not self._tail:
            pieces[0] = pieces[0].replace("\nmesh:\n", "\nmesh: {}\n")
        return "".join(pieces).encode()

    def json(self, name: str) -> bytes:
        """The same list. Raises KeyError."""
        topology = self.topology
        mesh: dict[str, Any] = {}
        for id_, members in topology.ties(name):
            mesh[str(id_)] = self._group(id_) | {"ips": [self._address(each) for each in members]}
        for tie in self._besides.get(name, ()):
            mesh[_besides_key(tie.rack)] = self._besides_group(tie)
        for key, group in self.shared.custom.items():
            mesh[self._custom_key(key)] = plain(group)
        whole = {"setting": self._setting(topology.member(name)), "mesh": mesh}
        return json.dumps(whole, separators=(",", ":")).encode()

    def _line(self, tie: Ties) -> str:
        head = self._heads.get(tie.rack)
        if head is None:
            head = f"  {json.dumps(str(tie.rack))}: {json.dumps(self._group(tie.rack))[:-1]}, "
            self._heads[tie.rack] = head
        ips = []
        for each in tie.members:
            text = self._quoted.get(each.addresses)
            if text is None:
                text = self._quoted[each.addresses] = json.dumps(self._address(each))
            ips.append(text)
        return f'{head}"ips": [{", ".join(ips)}]}}\n'

    def _group(self, id_: RackId) -> dict[str, Any]:
        probing = self.shared.probing
        found: dict[str, Any] = {"name": str(id_), "type": self.shared.type_}
        found["probe"] = probing.probe
        if probing.port is not None:
            found["port"] = probing.port
        if probing.payload:
            found["payload"] = probing.payload
        found["labels"] = labels_of(id_)
        return found

    def _besides_group(self, tie: Ties) -> dict[str, Any]:
        ips = [self._address(each) for each in tie.members]
        return {"name": _besides_key(tie.rack), "type": "PodIP", "probe": "icmp", "ips": ips}

    def _setting(self, member: Member) -> dict[str, Any]:
        labels = dict(self.shared.setting.labels) | labels_of(member.rack_id)
        return self._everybodys | {"labels": labels}

    def _address(self, member: Member) -> str:
        return address_of(member, self.shared.setting)

    def _custom_key(self, key: str) -> str:
        while key in self._taken:
            key += " (custom)"
        return key


def _besides_key(id_: RackId) -> str:
    return f"opted in: {id_}"


def address_of(member: Member, setting: Setting) -> str:
    """Where it is probed: the first address of the preferred family, else the first."""
    wanted = _FAMILY[setting.ip_protocol]
    for address in member.addresses:
        if family_of(address) == wanted:
            return address
    return member.addresses[0]


def custom_targets(pinglist: Pinglist) -> int:
    return sum(len(group.ips) for group in pinglist.mesh.values())


def plain(value: Any) -> Any:
    """A configuration struct as its file would have it, without what is as by default."""
    if isinstance(value, Struct):
        return {
            each.encode_name: plain(getattr(value, each.name))
            for each in fields(value)
            if getattr(value, each.name) != _default(each)
        }
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value


def _default(each: Any) -> Any:
    return each.default_factory() if each.default_factory is not NODEFAULT else each.default


def labels_of(id_: RackId) -> dict[str, str]:
    """What a rack's agents and targets carry as labels. Where there are neither zones nor racks
    the one rack has a name all the same: custom targets, which have no labels, are not in it."""
    if not any(id_):
        return {"rack": str(id_)}
    return {key: value for key, value in zip(("zone", "rack"), id_, strict=True) if value}
