"""pinglist.yaml: kubeservice-stack pingmesh's format, read as it is, and what we add to it.

The rule: a file of the original's means what it meant there; every key of ours has a default
under which it changes nothing. Pure: no clock, no resolver. Whatever the list says, the floors
and caps of this module and of guard.py hold.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

from msgspec import Meta, Struct, field

from exporter.config import Duration, Fault, Limits, Regexp, doubles, load_yaml
from exporter.errors import ConfigError, Problem
from pingmesh.address import Address, Place, read_place

Kind = Literal["icmp", "tcp", "udp", "dns", "http", "ntp", "kube-apiserver"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MAX_TARGETS = 100_000
SHORTEST_INTERVAL = 10.0
"""Seconds between two probes of the same pair (Pingmesh paper, section 3.4)."""
LARGEST_PAYLOAD = 64 * 1024
LARGEST_DATAGRAM = 65507
"""What fits a UDP or ICMP packet over IPv4: 65,535 less both headers."""
RESPONDER_PORT = 9435
_PORTS: dict[Kind, int] = {"udp": RESPONDER_PORT, "dns": 53, "ntp": 123, "kube-apiserver": 443}
_LIMITS = Limits(nodes=MAX_TARGETS + 50_000)
_TOO_MUCH = "too much, want at most"

Text = Annotated[str, Meta(min_length=1)]
LabelName = Annotated[
    str, Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", extra={"want": "a label's name such as zone"})
]


class Setting(Struct, frozen=True, forbid_unknown_fields=True):
    """How to probe. `concurrent_limit` is the most connections in flight, `interval` and
    `timeout` are seconds, `delay` milliseconds: at or under it a result is not exported.
    `labels` say where this agent is (zone, rack)."""

    concurrent_limit: Annotated[int, Meta(ge=1, le=10_000)] = 20
    interval: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    delay: Annotated[float, Meta(ge=0)] = 200.0
    timeout: Annotated[float, Meta(gt=0, le=600)] = 2.0
    source_ip_addr: Address = Address("0.0.0.0")  # noqa: S104 # any, not a listener
    ip_protocol: Literal["ip4", "ip6"] = "ip6"
    labels: dict[LabelName, str] = field(default_factory=dict)


class Expect(Struct, frozen=True, forbid_unknown_fields=True):
    """What makes an answer good. `status`: HTTP codes (empty: 2xx). `body`: an RE2 expression
    found in an HTTP body or a UDP answer. `answer`: an RE2 expression found in one of a DNS
    answer's records. `tls_expiry`: how long the certificate must still hold. `offset`: how far
    an NTP server's clock may be off."""

    status: tuple[Annotated[int, Meta(ge=100, le=599)], ...] = ()
    body: Regexp | None = None
    answer: Regexp | None = None
    tls_expiry: Duration | None = None
    offset: Duration | None = None


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    """What a DNS probe asks its target for."""

    name: Text
    type: Literal["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = "A"
    transport: Literal["udp", "tcp"] = "udp"


_EXPECTATIONS: dict[str, frozenset[Kind]] = {
    "status": frozenset({"http"}),
    "body": frozenset({"http"}),
    "answer": frozenset({"dns"}),
    "tls_expiry": frozenset({"http"}),
    "offset": frozenset({"ntp"}),
}
_SIZED: frozenset[Kind] = frozenset({"icmp", "udp"})


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """Targets probed alike. `name` is exported as label `tor` (without one: the group's key).
    `probe` null: a URL is http, what has a port is tcp, anything else icmp. `port` is for
    targets that have none. `payload` is the size of ICMP and UDP packets beyond their headers, in
    bytes; `fragment` false forbids to split them, so that one over the path's MTU is lost.
    `labels` say where the targets are (zone, rack). `verify` false takes any certificate."""

    name: str = ""
    type: Literal["OtherIP", "NodeIP", "PodIP", "ClusterIP"] = "OtherIP"
    ips: tuple[Text, ...] = ()
    probe: Kind | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    payload: Annotated[int, Meta(ge=0)] = 0
    fragment: bool = True
    query: Query | None = None
    expect: Expect = Expect()
    verify: bool = True
    labels: dict[LabelName, str] = field(default_factory=dict)

    def faults(self) -> Iterator[Fault]:
        for index, text in enumerate(self.ips):
            try:
                target = _read(self, "", text)
            except ValueError as error:
                yield Fault(("ips", index), str(error), text, "an address, name, host:port or URL")
                continue
            if target.kind == "tcp" and not target.port:
                yield Fault(("ips", index), "has no port", text, "host:port, or port in the group")
        largest = LARGEST_DATAGRAM if self.payload <= LARGEST_PAYLOAD else LARGEST_PAYLOAD
        if self.payload > largest:
            yield Fault(("payload",), "too large", self.payload, f"at most {largest} bytes")
        kinds = frozenset((self.probe,)) if self.probe else frozenset(KINDS)
        if self.payload and not kinds & _SIZED:
            yield Fault(("payload",), f"has no meaning for probe {self.probe}", want="icmp or udp")
        for name, where in _EXPECTATIONS.items():
            if getattr(self.expect, name) not in (None, ()) and not kinds & where:
                problem = f"has no meaning for probe {self.probe}"
                yield Fault(("expect", name), problem, want=f"probe {', '.join(where)}")
        if self.probe == "dns" and self.query is None:
            yield Fault(("query",), "is missing, want the name to ask for: {name: example.org}")
        if self.query is not None and self.probe != "dns":
            yield Fault(("query",), "has meaning for probe dns only")
        if not self.fragment and not kinds & _SIZED:
            yield Fault(("fragment",), f"has no meaning for probe {self.probe}", want="icmp or udp")


class Pinglist(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of pinglist.yaml. `mesh` holds any number of groups under any keys."""

    setting: Setting = Setting()
    mesh: dict[str, Group] = field(default_factory=dict)

    def faults(self) -> Iterator[Fault]:
        count = sum(len(group.ips) for group in self.mesh.values())
        if count > MAX_TARGETS:
            yield Fault(("mesh",), "too many targets", count, f"at most {MAX_TARGETS}")


class Target(NamedTuple):
    """One thing to probe. `text` and `tor` are its labels; `port` 0 where the kind has none."""

    text: str
    tor: str
    kind: Kind
    host: str
    port: int
    group: Group


def read_pinglist(source: Path | bytes, file: str | None = None) -> Pinglist:
    """Raises ConfigError with every problem. `file` names bytes in messages."""
    try:
        return load_yaml(source, Pinglist, file=file, limits=_LIMITS, nulls="default")
    except ConfigError as error:
        problem = error.problems[0]
        if not problem.text.startswith(_TOO_MUCH):
            raise
        text = (
            f"too many targets, want at most {MAX_TARGETS} (and {_LIMITS.nodes} YAML nodes with "
            "aliases expanded); split the list over several agents"
        )
        raise ConfigError([Problem(problem.file, problem.line, "mesh", text)]) from error


def targets(pinglist: Pinglist) -> list[Target]:
    """In file order, each label pair once."""
    found: dict[tuple[str, str], Target] = {}
    for key, group in pinglist.mesh.items():
        tor = group.name or key
        for text in group.ips:
            if (text, tor) not in found:
                found[text, tor] = _read(group, tor, text)
    return list(found.values())


def interval_of(setting: Setting) -> float:
    """Seconds: never under the floor."""
    return max(setting.interval, SHORTEST_INTERVAL)


def timeout_of(setting: Setting) -> float:
    """Seconds: never longer than a round."""
    return min(setting.timeout, interval_of(setting))


def warnings(pinglist: Pinglist) -> Iterator[str]:
    """What is taken other than it is written."""
    setting = pinglist.setting
    if setting.interval < SHORTEST_INTERVAL:
        yield (
            f"setting.interval: {setting.interval:g} s is raised to {SHORTEST_INTERVAL:g} s, the "
            "least between two probes of a pair"
        )
    if timeout_of(setting) != setting.timeout:
        yield (
            f"setting.timeout: {setting.timeout:g} s is cut to the interval, "
            f"{interval_of(setting):g} s"
        )
    for key, group in pinglist.mesh.items():
        if double := doubles(group.ips):
            yield f"mesh.{key}.ips: {group.ips[double[0]]} is there twice, it is probed once"
    if not any(group.ips for group in pinglist.mesh.values()):
        yield "mesh: there are no targets, nothing is probed"


def summary(pinglist: Pinglist) -> str:
    """One line: how many targets of which kind, how often."""
    counts = Counter(target.kind for target in targets(pinglist))
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
    return f"{counts.total()} targets ({kinds or 'none'}) every {interval_of(pinglist.setting):g} s"


def digest(data: bytes) -> str:
    """Names a list's content: 16 hex digits."""
    return hashlib.sha256(data).hexdigest()[:16]


def _read(group: Group, tor: str, text: str) -> Target:
    place: Place = read_place(text)
    kind = group.probe or ("http" if place.url else "tcp" if place.port or group.port else "icmp")
    if place.url and kind not in ("http", "kube-apiserver"):
        raise ValueError(f"a URL, which probe {kind} cannot use")
    port = place.port or group.port or _PORTS.get(kind, 0)
    if kind == "http" and not place.url:
        port = port or 80
    return Target(text, tor, kind, place.host, port, group)
