"""Evicts the pods that agents ask to be rid of, which they themselves may not do.

The rule: never kube-system, only a pod of the node that asks and with the uid that it names, at
most one per cooldown; a PodDisruptionBudget's no is a no. An eviction is not taken back.
https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Literal

from exporter.clock import Clock
from exporter.kube.api import PODS, ApiError, KubeApi, map_of
from exporter.kube.backoff import Backoff
from exporter.labeller.agent_source import Request

NEVER = frozenset({"kube-system"})
MIRROR = "kubernetes.io/config.mirror"
MOST_GRACE_SECONDS = 3600
_KEPT = 1000

Result = Literal["evicted", "dry_run", "refused", "gone", "budget", "failed"]
RESULTS: tuple[Result, ...] = ("evicted", "dry_run", "refused", "gone", "budget", "failed")
"""gone: no such pod any more; budget: a PodDisruptionBudget forbids it now; refused: by us, or by
the API for good."""

log = logging.getLogger(__name__)


class Evictor:
    """`fence` is asked before each eviction whether it is ours to do."""

    def __init__(
        self,
        api: KubeApi,
        clock: Clock,
        fence: Callable[[], Awaitable[bool]],
        *,
        cooldown: float = 300.0,
        never: Collection[str] = (),
        dry_run: bool = False,
        show: Callable[[str], None] = log.info,
    ) -> None:
        self._api, self._clock, self._fence = api, clock, fence
        self._cooldown, self._never = cooldown, NEVER | set(never)
        self._dry_run, self._show = dry_run, show
        self._next_at = float("-inf")
        self._backoffs: dict[str, tuple[Backoff, float]] = {}
        self._done: dict[str, None] = {}
        self.counts: dict[Result, int] = dict.fromkeys(RESULTS, 0)

    async def serve(self, asked: Mapping[str, Sequence[Request]]) -> None:
        """What the agents of these nodes ask for now. Raises nothing that the API does."""
        wanted = {each.uid for of_node in asked.values() for each in of_node}
        self._backoffs = {uid: kept for uid, kept in self._backoffs.items() if uid in wanted}
        for node, requests in asked.items():
            for request in requests:
                now = self._clock.monotonic()
                if now < self._next_at:
                    return
                if request.uid in self._done or now < self._wait_of(request.uid):
                    continue
                if not await self._fence():
                    return
                result, why = await self._evict(node, request)
                self.counts[result] += 1
                name = f"{request.namespace}/{request.pod}"
                log.info("eviction of %s on node %s: %s%s", name, node, result, why)
                if result in ("evicted", "dry_run"):
                    self._next_at = self._clock.monotonic() + self._cooldown
                if result not in ("budget", "failed"):
                    self._end(request.uid)

    def _wait_of(self, uid: str) -> float:
        kept = self._backoffs.get(uid)
        return float("-inf") if kept is None else kept[1]

    def _end(self, uid: str) -> None:
        self._done[uid] = None
        while len(self._done) > _KEPT:
            del self._done[next(iter(self._done))]

    async def _evict(self, node: str, request: Request) -> tuple[Result, str]:
        if not (request.namespace and request.pod and request.uid):
            return "refused", ": namespace, pod and uid must be said"
        if request.namespace in self._never:
            return "refused", f": {request.namespace} is never evicted from"
        try:
            pod = await self._api.get(PODS, request.pod, request.namespace)
            meta, spec = (map_of(pod.get(key)) for key in ("metadata", "spec"))
            if meta.get("uid") != request.uid or meta.get("deletionTimestamp"):
                return "gone", ""
            if spec.get("nodeName") != node:
                return "refused", ": it is on another node"
            if MIRROR in map_of(meta.get("annotations")):
                return "refused", ": it is a static pod"
            grace = min(max(request.grace_seconds, 0), MOST_GRACE_SECONDS)
            if self._dry_run:
                name = f"{request.namespace}/{request.pod}"
                self._show(f"dry run: evict pods/{name} uid {request.uid}: {request.reason}")
                return "dry_run", ""
            if not await self._fence():
                return "failed", ": it is another's to do now"
            await self._api.evict(
                request.namespace, request.pod, uid=request.uid, grace_seconds=grace
            )
        except ApiError as error:
            return self._failed(request.uid, error), f": {error}"
        return "evicted", f": {request.reason}"

    def _failed(self, uid: str, error: ApiError) -> Result:
        if error.not_found or error.conflict:  # or another of its name
            return "gone"
        if not error.may_pass:
            return "refused"
        backoff, _ = self._backoffs.get(uid, (Backoff(10.0, 300.0), 0.0))
        wait = backoff.failed(error.retry_after)
        self._backoffs[uid] = backoff, self._clock.monotonic() + wait
        return "budget" if error.status == 429 else "failed"
