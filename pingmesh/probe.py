"""What is probed and what came of it: the values that lists, lanes, probes and metrics share."""

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

from pingmesh.pinglist import Group, Kind, Target

NO_NUMBERS: Mapping[str, float] = {}


class Series(NamedTuple):
    """One pair of labels that a result is exported under, and where that target is."""

    target: str
    tor: str
    zone: str
    rack: str


class Probe(NamedTuple):
    """One thing to do once a round, for all series that ask for the same."""

    kind: Kind
    host: str
    port: int
    url: str
    group: Group
    series: tuple[Series, ...]

    @property
    def key(self) -> Hashable:
        """Equal for probes that do the same."""
        group = self.group
        return (
            *self[:4],
            group.payload,
            group.fragment,
            group.query,
            group.expect,
            group.verify,
        )


class Outcome(NamedTuple):
    """`rtt` in seconds, or None and a `reason`. `phases` are seconds; `numbers` anything else
    that the probe found out, by metric suffix (tcp_retransmits, tls_expiry_timestamp_seconds).
    `hop` is who said that the target is not to be reached."""

    rtt: float | None
    reason: str = ""
    phases: Mapping[str, float] = NO_NUMBERS
    numbers: Mapping[str, float] = NO_NUMBERS
    hop: str = ""


def probes(targets: Iterable[Target]) -> list[Probe]:
    """Targets that ask for the same thing in several groups are one probe."""
    found: dict[Hashable, Probe] = {}
    for target in targets:
        labels = target.group.labels
        series = Series(target.text, target.tor, labels.get("zone", ""), labels.get("rack", ""))
        url = target.text if "://" in target.text else ""
        probe = Probe(target.kind, target.host, target.port, url, target.group, (series,))
        key = probe.key
        same = found.get(key)
        found[key] = probe if same is None else same._replace(series=(*same.series, series))
    return list(found.values())
