"""What tc lets each pod send and receive, beside its other limits.

Rates change seldom, so they are asked for once a minute, by a scrape that wants them. Pods in the
host's network have no veth, and are in no row.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.errors import NoData
from exporter.host.kubepods import PodPath
from exporter.host.podtree import PodTree
from exporter.host.veth_rates import Rates, veth_rates
from exporter.hostfs import HostFs
from exporter.metrics.table import FastFamily, Shape
from exporter.usage.pods import TREE_AGE_SECONDS, Kubepods, PodUsage

_ASKED_AGAIN_SECONDS = 60.0
_SHAPE = Shape(
    "gauge",
    "kernmesh_pod_spec_network_limit_bytes_per_second",
    "What tc on the host's end of the pod's veth lets it receive and transmit.",
    ("namespace", "pod", "uid", "qos", "class", "device", "direction"),
)
Ask = Callable[[Iterable[Path]], dict[Path, list[Rates]]]


class PodNet:
    """A collector. Any thread may call."""

    def __init__(
        self,
        host: HostFs,
        kubepods: Kubepods,
        pods: PodUsage,
        clock: Clock,
        ask: Ask = veth_rates,
    ) -> None:
        self._proc, self._kubepods, self._pods = host.proc, kubepods, pods
        self._clock, self._ask = clock, ask
        self._rates: dict[str, list[Rates]] = {}
        self._until = float("-inf")

    def collect(self) -> Iterable[Metric]:
        """Raises NoData where there are no pods, or none has a rate; OSError where the kernel
        does not answer."""
        now = self._clock.monotonic()
        with self._kubepods.turn:
            tree = self._kubepods.tree(now, TREE_AGE_SECONDS)
            if now >= self._until:
                self._rates = {}  # what cannot be asked is unknown
                self._rates = self._asked(tree)
                self._until = now + _ASKED_AGAIN_SECONDS
            self._pods.look_for_names(now)
            rows: dict[tuple[str, ...], float] = {}
            for path, rates in self._rates.items():
                if path not in tree.pods:
                    continue
                labels = self._labels(tree.pods[path], path)
                for device, receive, transmit in rates:
                    for direction, rate in (("receive", receive), ("transmit", transmit)):
                        if rate is not None:
                            rows[(*labels, device, direction)] = float(rate)
        if not rows:
            raise NoData("tc limits no pod's network here")
        yield FastFamily.of(_SHAPE, rows)

    def _asked(self, tree: PodTree) -> dict[str, list[Rates]]:
        places: dict[str, Path] = {}
        for path in tree.containers:
            pod = path.rpartition("/")[0]
            if pod in tree.pods and pod not in places and (pid := self._a_process(path)):
                places[pod] = self._proc / pid / "ns/net"
        found = self._ask(places.values())
        return {pod: found[place] for pod, place in places.items() if place in found}

    def _a_process(self, path: str) -> str:
        """One in this cgroup; "" where there is none."""
        with suppress(OSError):
            procs = Path(self._kubepods.layout().listing, path, "cgroup.procs")
            return next(iter(procs.read_text().split()), "")
        return ""

    def _labels(self, pod: PodPath, path: str) -> tuple[str, ...]:
        namespace, name, _, qos, kind = self._pods.pod_labels(pod, path)
        return namespace, name, pod.uid, qos, kind
