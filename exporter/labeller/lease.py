"""Which of several replicas labels: a Lease, held as client-go's leader election holds one.

The rule: nobody's clock is compared with another's. A lease is over when it has not changed for its
duration by our own clock (tools/leaderelection: observedTime); its holder stops earlier than that.
https://kubernetes.io/docs/concepts/architecture/leases/ has the fields.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal

from exporter.clock import Clock
from exporter.kube.api import LEASES, ApiError, KubeApi, Object, map_of

Role = Literal["leader", "standby", "unsure"]
"""standby: another holds the lease, as far as is known; unsure: nobody is known to."""

log = logging.getLogger(__name__)


class Lease:
    """`run` it beside what it guards; `leads` says at any time whether that may go on."""

    def __init__(
        self,
        api: KubeApi,
        clock: Clock,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration: float = 15.0,
        renew_within: float = 10.0,
        retry: float = 2.0,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api, self._clock, self._pause = api, clock, pause
        self._namespace, self._name, self._identity = namespace, name, identity
        self._duration, self._renew_within, self._retry = duration, renew_within, retry
        self._seen: Any = None
        self._seen_at = clock.monotonic()
        self._renewed_at: float | None = None
        self.holder = ""
        """Whose it is, as far as is known; "" nobody's."""
        self.transitions = 0
        self.problem = ""

    @property
    def leads(self) -> bool:
        """Also False once the lease was not renewed in time: another may hold it by now."""
        at = self._renewed_at
        return at is not None and self._clock.monotonic() - at < self._renew_within

    @property
    def role(self) -> Role:
        if self.leads:
            return "leader"
        return "standby" if self.holder not in ("", self._identity) else "unsure"

    async def run(self) -> None:
        while True:
            await self.look()
            await self._pause(self._retry)

    async def look(self) -> None:
        """Takes or renews it, if it is ours to take. Raises nothing that the API does."""
        led = self.leads
        try:
            async with asyncio.timeout(self._renew_within):
                await self._try()
            self.problem = ""
        except (ApiError, TimeoutError) as error:
            text = str(error) or "the API does not answer in time"
            if isinstance(error, ApiError) and error.conflict:
                text = ""  # another was first; whose it is, the next look tells
            if text and text != self.problem:
                log.warning("lease %s: %s", self._name, text)
            self.problem = text
        if led != self.leads:
            log.info(
                "lease %s: %s", self._name, "is ours" if self.leads else "is not ours any more"
            )

    async def confirm(self) -> bool:
        """Whether it is still ours in the API's own words: asked before each write, since another
        may have taken it in a way that no election does."""
        if not self.leads:
            return False
        try:
            found = await self._api.get(LEASES, self._name, self._namespace)
        except ApiError as error:
            if error.not_found:
                self._lost("")
            return False
        self._observe(found)
        if self.holder != self._identity:
            self._lost(self.holder)
            return False
        return self.leads

    async def release(self) -> None:
        """So that another need not wait (client-go: ReleaseOnCancel)."""
        if not self.leads:
            return
        self._renewed_at = None
        try:
            found = await self._api.get(LEASES, self._name, self._namespace)
            before = map_of(found.get("spec"))
            if before.get("holderIdentity") == self._identity:
                spec = {**before, "holderIdentity": "", "leaseDurationSeconds": 1}
                spec["renewTime"] = _micro(self._clock.wall())
                await self._put({**found, "spec": spec})
                self.holder = ""
        except ApiError as error:
            log.info("lease %s: is not given back: %s", self._name, error)

    async def _try(self) -> None:
        began = self._clock.monotonic()
        try:
            found = await self._api.get(LEASES, self._name, self._namespace)
        except ApiError as error:
            if not error.not_found:
                raise
            body: Object = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": self._spec({}),
            }
            made = await self._api.create(LEASES, body, namespace=self._namespace)
            self._taken(made, began)
            return
        self._observe(found)
        spec = map_of(found.get("spec"))
        if self.holder not in ("", self._identity):
            if self._renewed_at is not None:
                self._lost(self.holder)
            length = spec.get("leaseDurationSeconds")
            length = length if isinstance(length, int) and length > 0 else self._duration
            if began - self._seen_at < length:
                return
        updated = await self._put({**found, "spec": self._spec(spec)})
        self._taken(updated, began)

    def _spec(self, before: Object) -> Object:
        now = _micro(self._clock.wall())
        ours = before.get("holderIdentity") == self._identity
        moves = before.get("leaseTransitions")
        moves = moves if isinstance(moves, int) else 0
        return {
            "holderIdentity": self._identity,
            # The API takes whole seconds, and more than none.
            "leaseDurationSeconds": max(1, round(self._duration)),
            "acquireTime": before.get("acquireTime") or now if ours else now,
            "renewTime": now,
            "leaseTransitions": moves if ours or not before else moves + 1,
        }

    async def _put(self, lease: Object) -> Object:
        """With the resourceVersion that was read, so only if nobody was faster."""
        return await self._api.update(LEASES, self._name, lease, namespace=self._namespace)

    def _observe(self, found: Object) -> None:
        spec = map_of(found.get("spec"))
        if spec != self._seen:
            self._seen, self._seen_at = spec, self._clock.monotonic()
        self.holder = str(spec.get("holderIdentity") or "")
        moves = spec.get("leaseTransitions")
        self.transitions = moves if isinstance(moves, int) else 0

    def _taken(self, lease: Object, began: float) -> None:
        self._observe(lease)
        self._renewed_at = began  # from before it was asked, as others count from after

    def _lost(self, to: str) -> None:
        self._renewed_at = None
        self.holder = to
        log.warning("lease %s: %s has it now, nothing is written", self._name, to or "nobody")


def _micro(wall: float) -> str:
    """metav1.MicroTime."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
