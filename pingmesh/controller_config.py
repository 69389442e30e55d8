"""controller.yaml: every key and its default, as frozen structs.

A source of members is all that must be given. Pure but for reading the files that are named.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from exporter.config import Duration, Fault, HttpUrl, ListenAddress, load_yaml
from exporter.config.client import BasicAuth, ClientTls, secret_faults
from exporter.config.privileges import Drop
from exporter.config.server import HttpServer, Listen
from pingmesh.pinglist import LARGEST_DATAGRAM, Setting
from pingmesh.topology import MOST_BETWEEN_ZONES, Rules

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Milliseconds = Annotated[float, Meta(gt=0)]
SHORTEST_REFRESH = Duration("1s")


class ControllerServer(HttpServer, frozen=True, forbid_unknown_fields=True):
    """The HTTP server. `web_config` is a file as Prometheus exporters read it (TLS, users);
    `lifecycle` lets POST /-/reload reload."""

    listen: Listen = (ListenAddress(":9115"),)


class Kubernetes(Struct, frozen=True, forbid_unknown_fields=True):
    """Members from the Kubernetes API. `kubeconfig` null is the pod's service account, else
    KUBECONFIG, else ~/.kube/config. `nodes` is a label selector ("": all). A node's zone is the
    first of `zone_labels` that it has, its rack is label `rack_label`. `probers` selects our pods
    that probe from the pod network, in `namespace` (null: the controller's own, where it is known,
    else all; "": all); null: there are none. `opt_in` selects pods, of all namespaces, that those
    probe besides; null: none. `keep` is a file for the members as they were last."""

    kubeconfig: Text | None = None
    nodes: str = ""
    zone_labels: tuple[Text, ...] = (
        "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/zone",
    )
    rack_label: Text = "kernmesh.io/rack"
    probers: Text | None = "kernmesh.io/prober=true"
    namespace: str | None = None
    opt_in: Text | None = "kernmesh.io/probe=true"
    keep: Text | None = None


class Sources(Struct, frozen=True, forbid_unknown_fields=True):
    """Where members come from, besides `inventory`."""

    kubernetes: Kubernetes | None = None


class TopologyRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Who probes whom. An agent gets at most `max_targets`, custom ones among them;
    `between_zones` nodes of each rack probe each rack of other zones."""

    max_targets: Annotated[int, Meta(ge=1, le=100_000)] = 2500
    between_zones: Annotated[int, Meta(ge=1, le=MOST_BETWEEN_ZONES)] = 2

    def rules(self, custom: int = 0) -> Rules:
        """What is left beside `custom` targets; one at least."""
        return Rules(max(1, self.max_targets - custom), self.between_zones)


class Probing(Struct, frozen=True, forbid_unknown_fields=True):
    """How agents probe each other. `port` null: of udp the responder's (9435); tcp needs one."""

    probe: Literal["icmp", "tcp", "udp"] = "icmp"
    port: Port | None = None
    payload: Annotated[int, Meta(ge=0, le=LARGEST_DATAGRAM)] = 0

    def faults(self) -> Iterator[Fault]:
        if self.probe == "tcp" and self.port is None:
            yield Fault(("port",), "is missing", want="the port that probe tcp connects to")
        if self.probe == "icmp" and self.port is not None:
            yield Fault(("port",), "has no meaning for probe icmp", want="tcp or udp")
        if self.probe == "tcp" and self.payload:
            yield Fault(("payload",), "has no meaning for probe tcp", want="icmp or udp")


class Level(Struct, frozen=True, forbid_unknown_fields=True):
    """P99 in milliseconds: green under `yellow`, red over `red`."""

    yellow: Milliseconds
    red: Milliseconds

    def faults(self) -> Iterator[Fault]:
        if self.yellow > self.red:
            yield Fault(("yellow",), "too large", self.yellow, f"at most red ({self.red:g})")


class Thresholds(Struct, frozen=True, forbid_unknown_fields=True):
    """What is too slow, by how far the two ends are apart, and which share lost is too much."""

    rack: Level = Level(4.0, 5.0)
    zone: Level = Level(4.0, 5.0)
    between_zones: Level = Level(4.0, 5.0)
    drop: Annotated[float, Meta(gt=0, lt=1)] = 1e-3


class MeshConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Where /mesh has its results from: Prometheus where `prometheus` says so (series joined by
    label `node_label`), else every agent's /metrics at `agent_port`, `concurrency` at a time, each
    `every`, while there are no more than `pull_at_most`. `window` is what is looked back on.
    `enabled` false: no results are fetched. Whichever is asked is asked with `tls`, and with the
    token or the password; agents by `agent_scheme`."""

    enabled: bool = True
    prometheus: HttpUrl | None = None
    node_label: Text = "instance"
    agent_port: Port = 9435
    agent_scheme: Literal["http", "https"] = "http"
    tls: ClientTls = ClientTls()
    bearer_token_file: Text | None = None
    basic_auth: BasicAuth | None = None
    every: Duration = Duration("30s")
    window: Duration = Duration("10m")
    timeout: Duration = Duration("5s")
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 32
    pull_at_most: Annotated[int, Meta(ge=1)] = 1000
    thresholds: Thresholds = Thresholds()

    def faults(self) -> Iterator[Fault]:
        if self.every < SHORTEST_REFRESH:
            yield Fault(("every",), "too short", self.every, f"at least {SHORTEST_REFRESH}")
        if self.window < 2 * self.every:
            want = f"at least twice every ({self.every})"
            yield Fault(("window",), "too short", self.window, want, also=(("every",),))
        if self.timeout <= 0:
            yield Fault(("timeout",), "too short", self.timeout, "more than 0")
        of_prometheus = self.prometheus is not None
        yield from secret_faults(
            self.tls,
            self.bearer_token_file,
            self.basic_auth,
            self.secure,
            "prometheus: https://…" if of_prometheus else "agent_scheme: https",
            ("prometheus",) if of_prometheus else ("agent_scheme",),
        )

    @property
    def secure(self) -> bool:
        """Whether results are asked for over TLS."""
        if self.prometheus is not None:
            return self.prometheus.startswith("https:")
        return self.agent_scheme == "https"


class ControllerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of controller.yaml. `inventory` is a file of nodes, `source` what else there is to
    have members from; both count. `pinglist` is a file whose groups every agent gets besides. Files
    are looked at each `refresh`. `setting` is every agent's, its labels zone and rack are put in
    for each."""

    inventory: Text | None = None
    source: Sources = Sources()
    server: ControllerServer = ControllerServer()
    pinglist: Text | None = None
    refresh: Duration = Duration("10s")
    setting: Setting = Setting()
    probing: Probing = Probing()
    topology: TopologyRules = TopologyRules()
    mesh: MeshConfig = MeshConfig()
    privileges: Drop = Drop()

    def faults(self) -> Iterator[Fault]:
        if self.inventory is None and self.source.kubernetes is None:
            problem = "is missing, want a file of nodes here, or source.kubernetes"
            yield Fault(("inventory",), problem, also=(("source",),))
        if self.refresh < SHORTEST_REFRESH:
            yield Fault(("refresh",), "too short", self.refresh, f"at least {SHORTEST_REFRESH}")


def load_controller(path: Path) -> ControllerConfig:
    """Raises ConfigError with every problem."""
    return load_yaml(path, ControllerConfig)
