"""Members from the Kubernetes API: nodes, pods that probe, pods that opted in; watched, and told of
once a second at most.

The rule: what was known stays known while the API is away; a controller that starts meanwhile goes
on with what it kept in a file, if it has one, and says so. Informers live in the loop, `read` is
for other threads: what passes between them is replaced, never changed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from exporter.clock import Clock
from exporter.kube.access import Access
from exporter.kube.api import NODES, PODS, KubeApi
from exporter.kube.informer import Informer
from exporter.memory import give_back
from exporter.threads import in_thread
from pingmesh import controller_config
from pingmesh.inventory import Network, NotYet
from pingmesh.kubernetes_kept import Kept, load_kept, save_kept
from pingmesh.kubernetes_objects import (
    NOTHING,
    NodeSeen,
    PodSeen,
    node_members,
    node_reducer,
    pod_members,
    pod_of,
)
from pingmesh.topology import Member

PACE_SECONDS = 1.0
"""Between two times that changes are told: a rolling restart of all pods is some lists, not one per
pod."""
KEEP_SECONDS = 30.0
"""Between two times that the file is written."""

log = logging.getLogger(__name__)


class Seen(NamedTuple):
    """What there was at one moment; None was not listed yet, or is not asked for."""

    nodes: tuple[NodeSeen, ...] | None = None
    probers: tuple[PodSeen, ...] | None = None
    opted_in: tuple[PodSeen, ...] | None = None


class Kubernetes:
    """`run` it in the loop; `sources` are for a Roll."""

    def __init__(
        self,
        config: controller_config.Kubernetes,
        access: Access,
        clock: Clock,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Reads what was kept, where it was; one that cannot be read is said and as none."""
        self.config, self.access = config, access
        self._clock, self._pause = clock, pause
        self._asked = f"{access.server} {config!r}"
        self._informers: Mapping[str, Informer[Any]] = MappingProxyType({})
        self._changed, self._unkept = asyncio.Event(), asyncio.Event()
        self._kept: Kept | None = None
        self._keep_problem = ""
        if config.keep is not None:
            self._kept = load_kept(Path(config.keep), self._asked)
        kept = self._kept
        self.seen = Seen(kept.nodes, kept.probers, kept.opted_in) if kept else Seen()
        self.sources: Sequence[Part] = (
            (Part(self, "nodes"), Part(self, "pods")) if self.pods else (Part(self, "nodes"),)
        )

    @property
    def pods(self) -> bool:
        """Whether there is a pod network; pods that opt in are nobody's without probers."""
        return self.config.probers is not None

    async def run(self, tell: Callable[[], None]) -> None:
        """Until it is cancelled. `tell` is called in the loop when `sources` have something new."""
        from exporter.kube.client import KubeClient

        api = KubeClient(self.access, self._clock, role="controller")
        try:
            await self.follow(api, tell)
        finally:
            await api.close()

    async def follow(self, api: KubeApi, tell: Callable[[], None]) -> None:
        """The part of `run` that needs but the API."""
        config = self.config
        reduce = node_reducer(config.zone_labels, config.rack_label)
        found = {"nodes": self._informer(api, NODES, reduce, labels=config.nodes)}
        if config.probers is not None:
            own = self.access.namespace if config.namespace is None else config.namespace
            found["probers"] = self._informer(
                api, PODS, pod_of, labels=config.probers, namespace=own
            )
            if config.opt_in is not None:
                found["opted_in"] = self._informer(api, PODS, pod_of, labels=config.opt_in)
        self._informers = MappingProxyType(found)
        async with asyncio.TaskGroup() as group:
            for informer in found.values():
                group.create_task(informer.run())
            group.create_task(self._tell(tell))
            if config.keep is not None:
                group.create_task(self._keep(Path(config.keep)))

    def _informer(self, api: KubeApi, resource: Any, reduce: Any, **where: str) -> Informer[Any]:
        return Informer(
            api,
            resource,
            self._clock,
            reduce,
            on_change=lambda _: self._changed.set(),
            on_synced=self._synced,
            **where,  # type: ignore[arg-type] # labels and namespace
        )

    def _synced(self) -> None:
        self._changed.set()
        if all(each.synced for each in self._informers.values()):
            give_back()  # what the HTTP client's import and the lists' JSON took

    async def _tell(self, tell: Callable[[], None]) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._take():
                self._unkept.set()
                tell()
                await self._pause(PACE_SECONDS)

    def _take(self) -> bool:
        """Whether anything is different; what is not listed whole stays as it was kept."""
        before = self.seen
        self.seen = before._replace(
            **{key: tuple(one.known.values()) for key, one in self._informers.items() if one.synced}
        )
        return self.seen != before

    async def _keep(self, path: Path) -> None:
        while True:
            await self._unkept.wait()
            self._unkept.clear()
            seen, informers = self.seen, self._informers
            if all(one.synced and getattr(seen, key) is not None for key, one in informers.items()):
                assert seen.nodes is not None
                kept = Kept(
                    self._asked, self._clock.wall(), seen.nodes, seen.probers, seen.opted_in
                )
                try:
                    await in_thread(partial(save_kept, path, kept), "keep members")
                    self._keep_problem = ""
                except OSError as error:
                    if str(error) != self._keep_problem:
                        log.warning("%s: members cannot be kept: %s", path, error.strerror)
                    self._keep_problem = str(error)
                await self._pause(KEEP_SECONDS)

    def stale(self, keys: Sequence[str]) -> str:
        """Why what is known of these may be old, "" while it is not."""
        for key in keys:
            informer = self._informers.get(key)
            problem = informer.problem if informer else ""
            if informer is not None and informer.synced:
                if problem:
                    return problem
            elif self._kept is None:
                return problem or "is asked for the first time"
            else:
                at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._kept.at))
                return f"{problem or 'not answered yet'}; members of {at}, from {self.config.keep}"
        return ""

    @property
    def unreadable(self) -> int:
        """How many answers were no objects of their kind, so far."""
        return sum(each.known.unreadable for each in self._informers.values())


class Part:
    """A source: one network's members of what was seen last."""

    def __init__(self, kubernetes: Kubernetes, network: Network) -> None:
        self.network = network
        self.name = f"kubernetes {network}"
        self._kubernetes = kubernetes
        config = kubernetes.config
        self._keys: Sequence[str] = ("nodes",)
        if network == "pods":
            self._keys = ("nodes", "probers", *(("opted_in",) if config.opt_in else ()))
        self._of: Sequence[object] = ()
        self._found = NOTHING

    @property
    def stale(self) -> str:
        return self._kubernetes.stale(self._keys)

    @property
    def left_out(self) -> Mapping[str, int]:
        return self._found.left_out

    def read(self) -> Sequence[Member]:
        """Raises NotYet before there was a whole answer."""
        seen = self._kubernetes.seen
        of = [getattr(seen, key) for key in self._keys]
        if any(each is None for each in of):
            raise NotYet(self.stale)
        if len(of) != len(self._of) or any(a is not b for a, b in zip(of, self._of, strict=True)):
            assert seen.nodes is not None
            if self.network == "nodes":
                self._found = node_members(seen.nodes, self._found)
            else:
                self._found = pod_members(
                    seen.nodes, seen.probers or (), seen.opted_in or (), self._found
                )
            self._of = of
        return self._found.members
