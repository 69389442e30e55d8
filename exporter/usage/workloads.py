"""What runs on the node, put together: pressure, pods, classes and jobs as sources and collectors.

The only module that knows them all; it reads nothing itself.
"""

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client.registry import Collector

from exporter.clock import Clock
from exporter.config.agent import Usage
from exporter.errors import KernmeshError
from exporter.host.psi import NodePressure
from exporter.hostfs import HostFs
from exporter.usage.classes import ClassUsage
from exporter.usage.jobs import Jobs
from exporter.usage.jobs_file import job_patterns
from exporter.usage.pod_families import PodsCollector
from exporter.usage.pod_net import PodNet
from exporter.usage.pod_pressure import PodPressure
from exporter.usage.podnames import LogNames
from exporter.usage.pods import Kubepods, Offline, PodUsage
from exporter.usage.series import Read, Source


class Workloads(NamedTuple):
    """`collectors` by the name that kernmesh_collector_* have for them."""

    sources: tuple[Source, ...]
    collectors: tuple[tuple[str, Collector], ...]


def workloads(host: HostFs, settings: Usage, clock: Clock) -> Workloads:
    """Raises ConfigError where usage.jobs_file is bad, KernmeshError where names are to come from
    the API. Their readers hold what is open, so a source's tiers share one."""
    if settings.pods.names == "api":
        raise KernmeshError(
            "usage.pods.names: api: this version does not ask the Kubernetes API; use paths "
            "(names from /var/log/pods) or none"
        )
    patterns = job_patterns(settings.jobs, settings.jobs_file)
    node = NodePressure(host)
    kubepods = Kubepods(host)
    offline = Offline(settings.offline.cgroups)
    names = LogNames(host) if settings.pods.names == "paths" else None
    pods = PodUsage(kubepods, names, offline)
    classes = ClassUsage(kubepods, offline, clock)
    pressure = PodPressure(kubepods, pods, clock)
    sources = [
        Source("pressure", ("fast", "slow"), _same(node.read)),
        Source("pods", ("pods",), _same(pods.read)),
        Source("pod pressure", ("pods",), _same(pressure.reads("pod"))),
        Source("cgroup pressure", ("fast", "slow"), _same(pressure.reads("cgroup"))),
        Source("classes", ("fast", "slow"), _same(classes.read)),
    ]
    collectors: list[tuple[str, Collector]] = [
        ("pressure", node),
        ("pods", PodsCollector(pods, clock)),
        ("pod_pressure", pressure),
        ("pod_net", PodNet(host, kubepods, pods, clock)),
        ("classes", classes),
    ]
    if patterns:
        jobs = Jobs(host, patterns, clock)
        sources.append(Source("jobs", ("fast", "slow"), _same(jobs.read)))
        collectors.append(("jobs", jobs))
    return Workloads(tuple(sources), tuple(collectors))


def _same(read: Read) -> Callable[[], Read]:
    return lambda: read
