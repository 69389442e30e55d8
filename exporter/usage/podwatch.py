"""Names of pods and containers, and which pods are offline, from the Kubernetes API: a watch of the
own node's pods.

The rule: a name goes with a uid or a container id, which are never used again; so what was known
stays right while the API is away, and what is not known has no name. Runs in the agent's loop; who
reads names does so from any thread. Only the agents that are told to ask the API import it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple

from exporter.clock import Clock
from exporter.errors import KernmeshError
from exporter.kube.access import Access, find_access
from exporter.kube.api import PODS, KubeApi, Object
from exporter.kube.cache import Change
from exporter.kube.client import KubeClient
from exporter.kube.informer import Informer
from exporter.memory import give_back
from exporter.usage.podnames import PodName
from exporter.usage.pods import Offline

# A pod's cgroup may outlive its object for a while; its series keep their name until both are gone.
KEPT_SECONDS = 600.0
# Without a way to ask (no service account, a bad kubeconfig) it is looked for again so often.
LOOK_AGAIN_SECONDS = 60.0
# docs/reference/labels-annotations-taints: the API's copy of a static pod. Its value is the uid
# that the kubelet knows the pod by, and its cgroup has.
_MIRROR = "kubernetes.io/config.mirror"
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")

log = logging.getLogger(__name__)


class _Pod(NamedTuple):
    """`containers` are names by id; `uid` is the cgroup's."""

    uid: str
    name: PodName
    containers: tuple[tuple[str, str], ...]
    offline: bool


class PodWatch:
    """Names, as LogNames has them. `pods` by uid and `containers` by id are replaced at each
    change, never changed; `changes` counts these. Tells `offline` which pods' annotations say so.
    """

    def __init__(
        self,
        node: str,
        clock: Clock,
        offline: Offline,
        annotations: Mapping[str, str],
        *,
        access: Callable[[], Access] = find_access,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`node` is its name in Kubernetes. A pod is offline that has one of `annotations`."""
        self._node, self._clock, self._offline = node, clock, offline
        self._annotations = frozenset(annotations.items())
        self._access, self._pause = access, pause
        self._informer: Informer[_Pod] | None = None
        self._ended: dict[_Pod, float] = {}
        self._told = False
        self._no_access = ""
        self.pods: Mapping[str, PodName] = {}
        self.containers: Mapping[str, str] = {}
        self.changes = 0

    @property
    def problem(self) -> str:
        """Why names may be missing, "" while all is well."""
        reason = self._no_access or (self._informer.problem if self._informer else "")
        return f"usage.pods.names: api: pods that are new have no names: {reason}" if reason else ""

    def refresh(self, now: float, incomplete: bool) -> None:
        """Nothing to do: what is new is told by the API."""

    async def run(self) -> None:
        """Until it is cancelled."""
        api = KubeClient(await self._reach(), self._clock, role="agent")
        try:
            await self.follow(api)
        finally:
            await api.close()

    async def follow(self, api: KubeApi) -> None:
        """The part of `run` that needs but the API."""
        self._informer = Informer(
            api,
            PODS,
            self._clock,
            self._reduce,
            on_change=self._heard,
            on_synced=give_back,  # what the HTTP client's import and the list's JSON took
            fields=f"spec.nodeName={self._node}",
            cached=True,
        )
        await self._informer.run()

    async def _reach(self) -> Access:
        while True:
            try:
                access = self._access()
            except KernmeshError as error:
                if str(error) != self._no_access:
                    self._no_access = str(error)
                    log.warning(self.problem)
                await self._pause(LOOK_AGAIN_SECONDS)
            else:
                self._no_access = ""
                return access

    def _reduce(self, found: Object) -> _Pod:
        meta = found["metadata"]
        annotations = meta.get("annotations") or {}
        return _Pod(
            annotations.get(_MIRROR) or meta["uid"],
            PodName(meta["namespace"], meta["name"]),
            tuple(_containers(found.get("status") or {})),
            not self._annotations.isdisjoint(annotations.items()),
        )

    def _heard(self, change: Change[_Pod]) -> None:
        if change.kind == "deleted" and change.old is not None:
            self._ended[change.old] = self._clock.monotonic() + KEPT_SECONDS
        if not self._told:  # a list's changes are one change
            self._told = True
            asyncio.get_running_loop().call_soon(self._take)

    def _take(self) -> None:
        self._told = False
        assert self._informer is not None
        now = self._clock.monotonic()
        self._ended = {pod: until for pod, until in self._ended.items() if now < until}
        # Those that are there come last, so that what they say counts.
        there = [*self._ended, *self._informer.known.values()]
        pods = {pod.uid: pod.name for pod in there}
        containers = {identity: name for pod in there for identity, name in pod.containers}
        offline = frozenset({pod.uid: pod for pod in there if pod.offline})
        if (pods, containers, offline) != (self.pods, self.containers, self._offline.pods):
            self.pods, self.containers, self._offline.pods = pods, containers, offline
            self.changes += 1


def _containers(status: Object) -> Iterator[tuple[str, str]]:
    """docs/reference/kubernetes-api/workload-resources/pod-v1: containerID is <type>://<id>, and
    missing of what has not started."""
    for key in _STATUSES:
        for each in status.get(key) or ():
            identity = (each.get("containerID") or "").rpartition("//")[2]
            if identity:
                yield identity, each["name"]
