"""agent.yaml: every key and its default, as frozen structs (the contract's names).

An empty file is valid. Rules that look at several keys are the `faults` of their struct.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from exporter.config.convert import Fault, doubles
from exporter.config.load import line_of, load_yaml
from exporter.config.pingmesh import Pingmesh
from exporter.config.privileges import Drop
from exporter.config.scalars import Duration, HttpUrl, ListenAddress, Regexp
from exporter.config.server import HttpServer, Listen
from exporter.errors import ConfigError, Problem
from exporter.usage import grammar

Text = Annotated[str, Meta(min_length=1)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Percent = Annotated[float, Meta(ge=0, le=100)]
MetricPrefix = Annotated[
    str,
    Meta(
        pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$",
        extra={"want": "letters, digits and _, no digit first"},
        description="Begins the name of every metric that BPF programs count.",
    ),
]
KeyPrefix = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?$",
        extra={"want": "a DNS name and a slash, such as kernmesh.io/"},
        description="Begins the labels and annotations that are written to the node.",
    ),
]
OFFLINE_ANNOTATIONS = {
    "mixer.kubernetes.io/app-class": "greedy",  # Caelus
    "volcano.sh/preemptable": "true",  # rubik
}
SHORTEST_INTERVAL = Duration("100ms")


class Server(HttpServer, frozen=True, forbid_unknown_fields=True):
    """The HTTP server. `web_config` is a file as Prometheus exporters read it (TLS, users);
    `lifecycle` lets POST /-/reload reload."""

    listen: Listen = (ListenAddress(":9435"),)


class Ebpf(Struct, frozen=True, forbid_unknown_fields=True):
    """BPF programs. `programs` are names, or "all" that are found. `dirs` are folders of
    <name>.yaml + <name>.bpf.o besides the shipped ones, owned by root and writable by nobody else.
    `btf` is a BTF file for kernels that carry none. Of each family at most `max_series` series
    are exported; the rest is summed into label value "other" and counted. `otlp` is a collector of
    OTLP over HTTP, for programs that make spans; without it nothing is sent anywhere."""

    programs: tuple[Text, ...] | Literal["all"] = ("timers", "biolatency", "oomkill")
    dirs: tuple[Text, ...] = ()
    prefix: MetricPrefix = "ebpf_exporter"
    backend: Literal["auto", "core", "bcc"] = "auto"
    btf: Text | None = None
    max_series: AtLeastOne = 10000
    otlp: HttpUrl | None = None

    def faults(self) -> Iterator[Fault]:
        names: Sequence[str] = () if self.programs == "all" else self.programs
        for key, values in (("programs", names), ("dirs", self.dirs)):
            for index in doubles(values):
                yield Fault((key, index), "is there twice", values[index])


class UsageMetric(Struct, frozen=True, forbid_unknown_fields=True):
    """A metric beside the built-in eight; `period` is how often it is written to Kubernetes."""

    name: Annotated[
        str,
        Meta(
            pattern=grammar.PATTERN,
            extra={"want": grammar.GRAMMAR},
        ),
    ]
    period: Duration

    def faults(self) -> Iterator[Fault]:
        if self.period <= 0:
            yield Fault(("period",), "too short", self.period, "more than 0")
        try:
            grammar.parse(self.name)
        except ValueError as error:
            yield Fault(("name",), str(error), self.name, grammar.GRAMMAR)


DEFAULT_METRICS = (UsageMetric("cpu_usage_avg_5m", Duration("3m")),)


class Pods(Struct, frozen=True, forbid_unknown_fields=True):
    """Where pod names come from: folders in /var/log/pods, the API (own-node watch), nowhere."""

    names: Literal["paths", "api", "none"] = "paths"


class Offline(Struct, frozen=True, forbid_unknown_fields=True):
    """What is offline work, and so may be acted on: by cgroup path or by pod annotation."""

    cgroups: tuple[Text, ...] = ("kubepods/offline", "kubepods/besteffort")
    annotations: dict[str, str] = field(default_factory=lambda: dict(OFFLINE_ANNOTATIONS))


class Job(Struct, frozen=True, forbid_unknown_fields=True):
    """Online work on a bare host, known by a regular expression (RE2) on its command line."""

    name: Text
    command: Regexp


class Usage(Struct, frozen=True, forbid_unknown_fields=True):
    """Node and pod usage. `interval` is the sampling period, `fast_interval` that of detection's
    signals (kept 15 min), `retention` how long samples are kept; `state_dir` null keeps them in
    memory only. `jobs_file` is a caelus.json whose online jobs are read too. `jobs_in_cgroups`
    moves each job's processes into a cgroup of their own, and back when the agent stops; jobs of
    the file only where that has online.pid_to_cgroup."""

    interval: Duration = Duration("10s")
    fast_interval: Duration = Duration("1s")
    retention: Duration = Duration("1d")
    state_dir: Text | None = "/var/lib/kernmesh"
    metrics: tuple[UsageMetric, ...] = DEFAULT_METRICS
    pods: Pods = Pods()
    offline: Offline = Offline()
    jobs: tuple[Job, ...] = ()
    jobs_file: Text | None = None
    jobs_in_cgroups: bool = False

    def faults(self) -> Iterator[Fault]:
        for key, period in (("interval", self.interval), ("fast_interval", self.fast_interval)):
            if period < SHORTEST_INTERVAL:
                yield Fault((key,), "too short", period, f"at least {SHORTEST_INTERVAL}")
        if self.fast_interval > self.interval:
            want = f"at most interval ({self.interval})"
            yield Fault(
                ("fast_interval",), "too long", self.fast_interval, want, also=(("interval",),)
            )
        if self.retention < self.interval:
            want = f"at least interval ({self.interval})"
            yield Fault(("retention",), "too short", self.retention, want, also=(("interval",),))
        yield from self._window_faults()
        named = {"metrics": [m.name for m in self.metrics], "jobs": [j.name for j in self.jobs]}
        for key, names in named.items():
            for index in doubles(names):
                yield Fault((key, index, "name"), "is there twice", names[index])

    def _window_faults(self) -> Iterator[Fault]:
        if self.metrics == DEFAULT_METRICS:  # which nobody may have written
            return
        for index, metric in enumerate(self.metrics):
            try:
                window = grammar.parse(metric.name).window
            except ValueError:  # its own fault
                continue
            path = ("metrics", index, "name")
            if window > self.retention:
                want = f"at most retention ({self.retention})"
                yield Fault(path, "window too long", metric.name, want, also=(("retention",),))
            if 0 < window < self.interval:
                want = f"at least interval ({self.interval})"
                yield Fault(path, "window too short", metric.name, want, also=(("interval",),))


class Interference(Struct, frozen=True, forbid_unknown_fields=True):
    """Interference detection. `rules` is a rules file, or `default` for the rules that come along;
    null: nothing is looked for. `dry_run` only says what would be done; `confirm` throttles a
    suspect briefly to see if it is the cause. `commands` (by name, each a program's path and its
    arguments) and `urls` are asked what applications say of themselves, for `slo` and app rules;
    none by default."""

    rules: Text | None = None
    dry_run: bool = True
    confirm: bool = False
    commands: dict[Text, Annotated[tuple[Text, ...], Meta(min_length=1)]] = {}
    urls: tuple[HttpUrl, ...] = ()

    def faults(self) -> Iterator[Fault]:
        for name, argv in self.commands.items():
            if not argv[0].startswith("/"):
                want = "the program's whole path, as it is run without a shell"
                yield Fault(("commands", name, 0), "is no path", argv[0], want)

    def without_effect(self) -> tuple[str, ...]:
        """Keys that are set and do nothing because `rules` is not."""
        if self.rules is not None:
            return ()
        said = ("dry_run", not self.dry_run), ("confirm", self.confirm)
        asked = ("commands", bool(self.commands)), ("urls", bool(self.urls))
        return tuple(key for key, is_set in (*said, *asked) if is_set)


class Keys(Struct, frozen=True, forbid_unknown_fields=True):
    """Names that are written to the node. `legacy_status` also writes dynamicScheduler's label."""

    prefix: KeyPrefix = "kernmesh.io/"
    legacy_status: bool = False


class Level(Struct, frozen=True, forbid_unknown_fields=True):
    """Percent: pressure begins at `high` and ends under `low`."""

    high: Percent = 80.0
    low: Percent = 70.0

    def faults(self) -> Iterator[Fault]:
        if not self.low < self.high:
            want = f"less than high ({self.high:g})"
            yield Fault(("low",), "too large", self.low, want, also=(("high",),))


class Levels(Struct, frozen=True, forbid_unknown_fields=True):
    """By resource, null for none: busy processors, memory, the fullest filesystem (`disk`), the
    busiest disk (`io`). `schedule` follows interference's request to send no more work here."""

    cpu: Level | None = Level()
    mem: Level | None = Level()
    disk: Level | None = None
    io: Level | None = None
    schedule: bool = True


class Enter(Struct, frozen=True, forbid_unknown_fields=True):
    """Pressure begins when `at_least` of the last `of` samples are over the level."""

    of: AtLeastOne = 10
    at_least: AtLeastOne = 8

    def faults(self) -> Iterator[Fault]:
        if self.at_least > self.of:
            want = f"at most of ({self.of})"
            yield Fault(("at_least",), "too large", self.at_least, want, also=(("of",),))


class Pressure(Struct, frozen=True, forbid_unknown_fields=True):
    """Pressure labels on the own node. `node` is its name in Kubernetes; $NAME takes it from the
    environment, and load_agent leaves None where that has none. `kubeconfig` null is the pod's
    service account, else KUBECONFIG, else ~/.kube/config. Beside the labels there are a Node
    `condition` and, if asked for, a `taint` (PreferNoSchedule); `clear_on_stop` takes everything
    away when the agent ends. `dry_run` only says what would be written. `crane_policy` is a
    DynamicSchedulerPolicy file, `crane_timezone` the zone that crane's stamps are written in."""

    enabled: bool = False
    dry_run: bool = False
    node: Text | None = "$NODE_NAME"
    kubeconfig: Text | None = None
    keys: Keys = Keys()
    condition: bool = True
    taint: bool = False
    clear_on_stop: bool = True
    levels: Levels = Levels()
    enter: Enter = Enter()
    hold: Duration = Duration("5m")
    expire_after: Duration = Duration("10m")
    crane_policy: Text | None = None
    crane_timezone: Text = "Asia/Shanghai"

    def faults(self) -> Iterator[Fault]:
        if self.enabled and self.node is None:
            yield Fault(("node",), "is null", want="the node's name or $NODE_NAME")
        if self.crane_policy and not is_zone(self.crane_timezone):
            zone, want = self.crane_timezone, "one of this machine's, such as Asia/Shanghai"
            yield Fault(("crane_timezone",), "unknown time zone", zone, want)


class AgentConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of agent.yaml."""

    server: Server = Server()
    ebpf: Ebpf = Ebpf()
    usage: Usage = Usage()
    pingmesh: Pingmesh = Pingmesh()
    interference: Interference = Interference()
    pressure: Pressure = Pressure()
    privileges: Drop = Drop()


def load_agent(path: Path | None, environ: Mapping[str, str] = os.environ) -> AgentConfig:
    """agent.yaml, or the defaults where there is no file to read. Raises ConfigError."""
    config = AgentConfig() if path is None else load_yaml(path, AgentConfig)
    pressure = config.pressure
    if pressure.node is None or not pressure.node.startswith("$"):
        return config
    name = pressure.node[1:]
    node = environ.get(name) or None
    if node is None and pressure.enabled:
        line = line_of(path, "pressure.node") if path else 0
        text = f"environment variable {name} is not set, want the node's name in it, or here"
        raise ConfigError([Problem(str(path), line, "pressure.node", text)])
    return replace(config, pressure=replace(pressure, node=node))


def is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo  # only those who write for crane need it

    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True
