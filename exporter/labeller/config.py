"""labeller.yaml: every key and its default, as frozen structs; and dynamicScheduler's flags as one.

The rule: at least one source of values must be given. Pure but for reading the file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from exporter.config import Duration, Fault, HttpUrl, ListenAddress, load_yaml
from exporter.config.agent import Enter, Keys, Percent, is_zone
from exporter.config.client import BasicAuth, ClientTls, secret_faults
from exporter.config.privileges import Drop
from exporter.config.server import HttpServer, Listen
from exporter.errors import ConfigError, KernmeshError, Problem
from exporter.pressure.deciding import GAUGES

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
SHORTEST_INTERVAL = Duration("1s")
RESOURCES = tuple(GAUGES)

ServiceName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        extra={"want": "NAMESPACE/NAME of a Service"},
    ),
]


class Band(Struct, frozen=True, forbid_unknown_fields=True):
    """Percent: pressure begins over `high` and ends under `low`, null for one point less."""

    high: Percent = 80.0
    low: Percent | None = None

    def faults(self) -> Iterator[Fault]:
        if self.low is not None and not self.low < self.high:
            want = f"less than high ({self.high:g})"
            yield Fault(("low",), "too large", self.low, want, also=(("high",),))

    @property
    def end(self) -> float:
        return max(0.0, self.high - 1.0) if self.low is None else self.low


class Bands(Struct, frozen=True, forbid_unknown_fields=True):
    """By resource, null for none: busy processors, memory, the fullest filesystem (`disk`), the
    busiest disk (`io`). `schedule` follows interference's request to send no more work there."""

    cpu: Band | None = Band()
    mem: Band | None = Band()
    disk: Band | None = None
    io: Band | None = None
    schedule: bool = True


class Begin(Enter, frozen=True, forbid_unknown_fields=True):
    """Pressure begins when `at_least` of the last `of` samples are over the level. The default is
    the best that a simulation found (docs/pressure.md)."""

    of: Annotated[int, Meta(ge=1, le=360)] = 5
    at_least: Annotated[int, Meta(ge=1)] = 4


class LabellerServer(HttpServer, frozen=True, forbid_unknown_fields=True):
    """The HTTP server. `web_config` is a file as Prometheus exporters read it (TLS, users);
    `lifecycle` lets POST /-/reload reload."""

    listen: Listen = (ListenAddress(":9000"),)


class Agents(Struct, frozen=True, forbid_unknown_fields=True):
    """Values from every node's agent: /statistics, and /interference if `interference`. Where they
    are: the EndpointSlices of a `service`, else `addresses` by node, else every node's InternalIP
    at `port`. `concurrency` are asked at a time, each for `timeout` at most; by `scheme`, with
    `tls`, and with the token or the password."""

    service: ServiceName | None = None
    addresses: dict[Text, ListenAddress] = {}
    port: Port = 9435
    scheme: Literal["http", "https"] = "http"
    tls: ClientTls = ClientTls()
    bearer_token_file: Text | None = None
    basic_auth: BasicAuth | None = None
    timeout: Duration = Duration("5s")
    concurrency: Annotated[int, Meta(ge=1, le=1024)] = 128
    interference: bool = True

    def faults(self) -> Iterator[Fault]:
        if self.timeout <= 0:
            yield Fault(("timeout",), "too short", self.timeout, "more than 0")
        if self.service is not None and self.addresses:
            problem = "agents are found by service or by addresses"
            yield Fault(("addresses",), problem, want="one of both")
        for node, address in self.addresses.items():
            if not address.host:
                yield Fault(("addresses", node), "has no host", address, "HOST:PORT")
        yield from secret_faults(
            *(self.tls, self.bearer_token_file, self.basic_auth),
            *(self.scheme == "https", "scheme: https", ("scheme",)),
        )


class PromRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Values from Prometheus, by dynamicScheduler's rule file `rules`. Pressure begins over a
    rule's Threshold and ends under `low` times that. It is asked with `tls`, and with the token or
    the password."""

    url: HttpUrl
    rules: Text
    low: Annotated[float, Meta(gt=0, le=1)] = 0.98
    tls: ClientTls = ClientTls()
    bearer_token_file: Text | None = None
    basic_auth: BasicAuth | None = None
    timeout: Duration = Duration("10s")

    def faults(self) -> Iterator[Fault]:
        if self.timeout <= 0:
            yield Fault(("timeout",), "too short", self.timeout, "more than 0")
        yield from secret_faults(
            *(self.tls, self.bearer_token_file, self.basic_auth),
            *(self.url.startswith("https:"), "url: https://…", ("url",)),
        )


class LeaseConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Which replica labels. `namespace` null is the pod's own. Times are client-go's: another may
    take the lease `duration` after its last renewal, its holder stops `renew_within` after it, and
    looks every `retry`. `enabled` false: there is but one replica."""

    enabled: bool = True
    namespace: Text | None = None
    name: Text = "kernmesh-labeller"
    duration: Duration = Duration("15s")
    renew_within: Duration = Duration("10s")
    retry: Duration = Duration("2s")

    def faults(self) -> Iterator[Fault]:
        if self.duration < 1:
            yield Fault(("duration",), "too short", self.duration, "at least 1s")
        if not self.renew_within < self.duration:
            want = f"less than duration ({self.duration})"
            yield Fault(("renew_within",), "too long", self.renew_within, want)
        if not 0 < self.retry < self.renew_within:
            want = f"more than 0 and less than renew_within ({self.renew_within})"
            yield Fault(("retry",), "is out of range", self.retry, want)


class EvictConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Evictions that agents ask for: one per `cooldown`, nothing in namespaces of `never`."""

    enabled: bool = False
    cooldown: Duration = Duration("5m")
    never: tuple[Text, ...] = ()

    def faults(self) -> Iterator[Fault]:
        if self.cooldown <= 0:
            yield Fault(("cooldown",), "too short", self.cooldown, "more than 0")


class LabellerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of labeller.yaml. One of `agents` and `prometheus` must be there (`agents: {}`
    will do); `levels` are of agents' values. A round of reading begins each `interval`, and ends
    before the next begins. `kubeconfig` null is the pod's service account, else KUBECONFIG, else
    ~/.kube/config. `condition`: nodes that were ever marked have a condition; `taint` is
    PreferNoSchedule. `clear_on_stop` takes all marks away at the end, which a rolling update needs
    not. `janitor`: marks of agents that died are removed. `crane_policy` is a
    DynamicSchedulerPolicy, whose metrics are written as annotations, so many a second."""

    server: LabellerServer = LabellerServer()
    kubeconfig: Text | None = None
    dry_run: bool = False
    interval: Duration = Duration("10s")
    agents: Agents | None = None
    prometheus: PromRules | None = None
    levels: Bands = Bands()
    enter: Begin = Begin()
    hold: Duration = Duration("20s")
    expire_after: Duration = Duration("10m")
    keys: Keys = Keys()
    condition: bool = True
    taint: bool = False
    clear_on_stop: bool = False
    writes_per_second: Annotated[float, Meta(gt=0, le=1000)] = 5.0
    lease: LeaseConfig = LeaseConfig()
    janitor: bool = True
    evictions: EvictConfig = EvictConfig()
    crane_policy: Text | None = None
    crane_timezone: Text = "Asia/Shanghai"
    crane_writes_per_second: Annotated[float, Meta(gt=0, le=1000)] = 50.0
    privileges: Drop = Drop()

    def faults(self) -> Iterator[Fault]:
        if self.agents is None and self.prometheus is None:
            yield Fault(("agents",), "no source of values", want="agents: {} or prometheus: {…}")
        if self.interval < SHORTEST_INTERVAL:
            yield Fault(("interval",), "too short", self.interval, f"at least {SHORTEST_INTERVAL}")
        if self.crane_policy is not None and self.agents is None:
            yield Fault(("crane_policy",), "its values come from agents", want="agents: {}")
        if self.evictions.enabled and (self.agents is None or not self.agents.interference):
            want = "agents: {interference: true}"
            yield Fault(("evictions", "enabled"), "agents ask for evictions", want=want)
        if self.crane_policy and not is_zone(self.crane_timezone):
            zone, want = self.crane_timezone, "one of this machine's, such as Asia/Shanghai"
            yield Fault(("crane_timezone",), "unknown time zone", zone, want)

    def chosen(self) -> dict[str, Band]:
        """The levels that follow a gauge of the agents, by resource."""
        found = {resource: getattr(self.levels, resource) for resource in RESOURCES}
        return {resource: level for resource, level in found.items() if level is not None}


def load_labeller(path: Path) -> LabellerConfig:
    """Raises ConfigError with every problem."""
    return load_yaml(path, LabellerConfig)


class Flags(Struct, frozen=True):
    """dynamicScheduler's command line."""

    kubeconfig: str
    prom: str
    rules: str
    seconds: str
    webaddr: str


def from_flags(flags: Flags) -> LabellerConfig:
    """As dynamicScheduler ran: one replica, `status=presure`. Raises KernmeshError."""
    problems: list[Problem] = []

    def read(flag: str, text: str, make: type[HttpUrl] | type[ListenAddress]) -> str:
        try:
            return make(text)
        except ValueError as error:
            problems.append(Problem(flag, 0, "", f"{error}, got {text}, want {make.want}"))
            return ""

    with_scheme = flags.prom if "://" in flags.prom else f"http://{flags.prom}"
    url, listen = (
        read("-prom", with_scheme, HttpUrl),
        read("-webaddr", flags.webaddr, ListenAddress),
    )
    if not (flags.seconds.isascii() and flags.seconds.isdigit() and 0 < int(flags.seconds) < 86400):
        problems.append(Problem("-s", 0, "", f"no seconds, got {flags.seconds}, want 1 or more"))
    if problems:
        raise ConfigError(problems)
    if not flags.rules:
        raise KernmeshError("-r: is missing, want a rule.yaml")
    assert isinstance(url, HttpUrl) and isinstance(listen, ListenAddress)
    return LabellerConfig(
        server=LabellerServer(listen=(listen,)),
        kubeconfig=flags.kubeconfig or None,
        interval=Duration(f"{int(flags.seconds)}s"),
        prometheus=PromRules(url, flags.rules),
        keys=Keys(legacy_status=True),
        lease=LeaseConfig(enabled=False),
    )
