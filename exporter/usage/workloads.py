"""What runs on the node, put together: pressure, pods, classes and jobs as sources and collectors.

The only module that knows them all; it reads nothing itself.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.registry import Collector

from exporter.clock import Clock
from exporter.config.agent import Usage
from exporter.host.psi import NodePressure
from exporter.hostfs import HostFs
from exporter.usage.classes import ClassUsage
from exporter.usage.jobs import Jobs
from exporter.usage.jobs_file import job_patterns
from exporter.usage.pod_families import PodsCollector
from exporter.usage.pod_net import PodNet
from exporter.usage.pod_pressure import PodPressure
from exporter.usage.podnames import LogNames, Names
from exporter.usage.pods import Kubepods, Offline, PodUsage
from exporter.usage.series import Read, Source

if TYPE_CHECKING:
    from exporter.usage.podwatch import PodWatch


class Workloads(NamedTuple):
    """`collectors` by the name that kernmesh_collector_* have for them. `watch` is to be run where
    names come from the API; `jobs` is None where none are configured. `kubepods`, `offline` and
    `names` are for those who look at single cgroups, too."""

    sources: tuple[Source, ...]
    collectors: tuple[tuple[str, Collector], ...]
    kubepods: Kubepods
    offline: Offline
    names: Names | None = None
    watch: "PodWatch | None" = None
    jobs: Jobs | None = None


def workloads(host: HostFs, settings: Usage, clock: Clock, node: str = "") -> Workloads:
    """`node` is its name in Kubernetes, for where that is asked. Raises ConfigError where
    usage.jobs_file is bad. Their readers hold what is open, so a source's tiers share one."""
    patterns = job_patterns(settings.jobs, settings.jobs_file)
    pressure_of_node = NodePressure(host)
    kubepods = Kubepods(host)
    offline = Offline(settings.offline.cgroups)
    names: Names | None = LogNames(host) if settings.pods.names == "paths" else None
    watch = None
    if settings.pods.names == "api":
        from exporter.usage.podwatch import PodWatch  # a plain agent has no client of the API

        names = watch = PodWatch(node, clock, offline, settings.offline.annotations)
    pods = PodUsage(kubepods, names, offline)
    classes = ClassUsage(kubepods, offline, clock, annotated=watch is not None)
    pressure = PodPressure(kubepods, pods, clock)
    sources = [
        Source("pressure", ("fast", "slow"), _same(pressure_of_node.read)),
        Source("pods", ("pods",), _same(pods.read)),
        Source("pod pressure", ("pods",), _same(pressure.reads("pod"))),
        Source("cgroup pressure", ("fast", "slow"), _same(pressure.reads("cgroup"))),
        Source("classes", ("fast", "slow"), _same(classes.read)),
    ]
    collectors: list[tuple[str, Collector]] = [
        ("pressure", pressure_of_node),
        ("pods", PodsCollector(pods, clock)),
        ("pod_pressure", pressure),
        ("pod_net", PodNet(host, kubepods, pods, clock)),
        ("classes", classes),
    ]
    jobs = None
    if patterns:
        jobs = Jobs(host, patterns, clock)
        sources.append(Source("jobs", ("fast", "slow"), _same(jobs.read)))
        collectors.append(("jobs", jobs))
    return Workloads(tuple(sources), tuple(collectors), kubepods, offline, names, watch, jobs)


def _same(read: Read) -> Callable[[], Read]:
    return lambda: read
