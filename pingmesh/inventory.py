"""Who is there: members from a file or an API, kept when that is away.

The rule: a source that cannot be read changes nothing but its age; what it said last is served on,
marked stale. A member that cannot be probed is left out and named. Knows no topology and no HTTP.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct

from exporter.clock import Clock
from exporter.config import Fault, Limits, doubles, load_yaml
from exporter.errors import KernmeshError
from pingmesh.address import Address
from pingmesh.topology import Member

MAX_NODES = 50_000
_LIMITS = Limits(nodes=1_000_000)

log = logging.getLogger(__name__)


Name = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$", extra={"want": "a node's name"}),
]


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """One agent: it asks for its pinglist by its name and is probed at the first of its `ips`
    that is of the setting's ip_protocol, or at its first. Agents of one `host` (null: the name)
    do not probe each other."""

    ips: Annotated[tuple[Address, ...], Meta(min_length=1)]
    zone: str = ""
    rack: str = ""
    host: str | None = None

    def faults(self) -> Iterator[Fault]:
        for index in doubles(self.ips):
            yield Fault(("ips", index), "is there twice", self.ips[index])


class InventoryFile(Struct, frozen=True, forbid_unknown_fields=True):
    """inventory.yaml: nodes by name. It must say `nodes: {}` to say that there are none."""

    nodes: dict[Name, Node]

    def faults(self) -> Iterator[Fault]:
        if len(self.nodes) > MAX_NODES:
            yield Fault(("nodes",), "too many", len(self.nodes), f"at most {MAX_NODES}")
        owner: dict[str, str] = {}
        for name, node in self.nodes.items():
            for index, address in enumerate(node.ips):
                first = owner.setdefault(address, name)
                if first != name:
                    path = ("nodes", name, "ips", index)
                    yield Fault(path, f"is an address of {first} already", address)


Network = Literal["nodes", "pods"]
"""Who may probe whom: nodes' addresses, or pods'."""


class NotYet(KernmeshError):
    """A source that watches has not been told yet who is there."""


class Source(Protocol):
    """Where members come from. A source that watches keeps what it has seen and answers from
    that; one that polls reads here."""

    @property
    def name(self) -> str:
        """For log lines and metrics: "file", "kubernetes nodes"."""

    @property
    def network(self) -> Network:
        """Which its members are on."""

    @property
    def stale(self) -> str:
        """Why what was read last may be out of date, "" while it is not."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many of those that were read last are no members, by reason."""

    def read(self) -> Sequence[Member] | None:
        """All members now; None where nothing has changed since the last read. Called in a
        thread, never twice at once. Raises KernmeshError while it is away."""


class FileSource:
    """An inventory.yaml, read again when its stat changes."""

    name = "file"
    network: Network = "nodes"
    stale = ""  # whatever is wrong is raised
    left_out: Mapping[str, int] = MappingProxyType({})  # whatever is wrong is an error

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None

    def read(self) -> Sequence[Member] | None:
        """Raises ConfigError with every problem; KernmeshError where it cannot be read."""
        try:
            stat = self._path.stat()
        except OSError as error:
            raise KernmeshError(f"{self._path}: {error.strerror}, want an inventory") from error
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen == self._seen:
            return None
        found = read_inventory(self._path)
        self._seen = seen
        return found


def read_inventory(source: Path | bytes, file: str | None = None) -> list[Member]:
    """Raises ConfigError with every problem."""
    found = load_yaml(source, InventoryFile, file=file, limits=_LIMITS)
    return [
        Member(name, node.zone, node.rack, tuple(map(str, node.ips)), node.host or "")
        for name, node in found.nodes.items()
    ]


class Roll:
    """The members of all sources as they were last read."""

    def __init__(self, sources: Sequence[Source], clock: Clock) -> None:
        self.sources = sources
        self._clock = clock
        self._found: dict[str, Sequence[Member]] = {}
        self._read_at: dict[str, float] = {}
        self.errors: dict[str, KernmeshError] = {}
        """Why a source is away, by its name; empty while all can be read."""
        self.doubles: dict[Network, tuple[str, ...]] = {}
        """Names that two sources have; the first source's count."""

    def look(self) -> bool:
        """Reads all sources; whether anything is different now."""
        changed = False
        for source in self.sources:
            try:
                found = source.read()
            except KernmeshError as error:
                self._away(source, error)
                continue
            if found is not None and found != self._found.get(source.name):
                self._found[source.name] = found
                changed = True
            if source.stale:
                self._away(source, KernmeshError(source.stale))
                continue
            before = self.errors.pop(source.name, None)
            if before is not None and not isinstance(before, NotYet):
                log.info("source %s is back", source.name)
            self._read_at[source.name] = self._clock.monotonic()
        return changed

    def _away(self, source: Source, error: KernmeshError) -> None:
        before = self.errors.get(source.name)
        self.errors[source.name] = error
        if (before is None or before.lines[0] != error.lines[0]) and not isinstance(error, NotYet):
            log.error("members of source %s stay: %s", source.name, error.lines[0])

    def waiting(self, network: Network) -> bool:
        """Whether some source of this network has never said who is there."""
        return any(
            source.network == network and source.name not in self._found for source in self.sources
        )

    @property
    def names(self) -> list[str]:
        return [source.name for source in self.sources]

    @property
    def problems(self) -> dict[str, str]:
        """One line per source that is away."""
        return {name: error.lines[0] for name, error in self.errors.items()}

    def members(self, network: Network = "nodes") -> list[Member]:
        """Of all sources, each name once."""
        by_name: dict[str, Member] = {}
        twice = []
        for source in self.sources:
            for each in self._found.get(source.name, ()) if source.network == network else ():
                if by_name.setdefault(each.name, each) is not each:
                    twice.append(each.name)
        self.doubles[network] = tuple(twice)
        return list(by_name.values())

    def left_out(self) -> dict[tuple[str, str], int]:
        """By source and reason."""
        found = {
            (source.name, reason): count
            for source in self.sources
            for reason, count in source.left_out.items()
        }
        if twice := sum(map(len, self.doubles.values())):
            found["all", "name in two sources"] = twice
        return found

    def ages(self) -> dict[str, float]:
        """Seconds since each source was last read well; without those that never were."""
        now = self._clock.monotonic()
        return {name: now - at for name, at in self._read_at.items()}
