"""Brings what should stand to the API: one plan at a time, only so many a second, and patiently.

The rule: nothing is written that stands already, nothing is written by a plan older than the wait
for its turn, and what the API refuses is the caller's to look at anew. Knows no levels.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

from exporter.clock import Clock
from exporter.kube.api import NODES, ApiError, KubeApi, Object
from exporter.kube.backoff import Backoff
from exporter.pressure.plan import Plan

Result = Literal["written", "unchanged", "dry_run", "conflict", "gone", "failed", "refused"]
RESULTS: tuple[Result, ...] = ("written", "dry_run", "conflict", "gone", "failed", "refused")
"""Those that are counted. conflict: somebody wrote meanwhile, or owns a field; gone: no such Node
any more, or another of its name; failed: the API did not answer, or asks to come back later;
refused: it says no and will again (RBAC, admission)."""

# Of a dry run's text: when it would be, and of which version.
_VARYING = re.compile(r'"[0-9]{4}-[-0-9]{5}T[:0-9]{8}Z"|resourceVersion", "value": "[0-9]*"')

log = logging.getLogger(__name__)


class Bucket:
    """A token bucket: `rate` a second, and never more than one at hand."""

    def __init__(self, clock: Clock, rate: float) -> None:
        self._clock, self._rate = clock, rate
        self._tokens, self._at = 1.0, clock.monotonic()

    def wait(self) -> float:
        """Seconds until there is a token; 0 takes it."""
        now = self._clock.monotonic()
        self._tokens = min(1.0, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1.0 - 1e-9:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate

    def put_back(self) -> None:
        self._tokens = min(1.0, self._tokens + 1.0)


class Outcome(NamedTuple):
    """`node` is as the API answered it, where something was written. `error` is why not."""

    result: Result
    node: Object | None = None
    error: ApiError | None = None


class Writer:
    """One per process and field manager. `pause` sleeps; `show` gets what a dry run would do."""

    def __init__(
        self,
        api: KubeApi,
        clock: Clock,
        manager: str,
        pause: Callable[[float], Awaitable[None]],
        *,
        rate: float = 5.0,
        dry_run: bool = False,
        show: Callable[[str], None] = log.info,
        backoff: Backoff | None = None,
        fence: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`fence` is asked before each request whether it may still be made."""
        self._api, self._clock, self._manager, self._pause = api, clock, manager, pause
        self._fence = fence
        self._bucket = Bucket(clock, rate)
        self._backoff = backoff or Backoff()
        self._dry_run, self._show = dry_run, show
        self._shown: dict[str, tuple[str, str]] = {}
        self._not_before = 0.0
        self.counts: dict[Result, int] = dict.fromkeys(RESULTS, 0)
        """Attempts by result."""

    @property
    def waiting(self) -> float:
        """Seconds for which nothing is asked, since the API failed; 0: it may be."""
        return max(0.0, self._not_before - self._clock.monotonic())

    def use(self, api: KubeApi) -> None:
        """From now on; whoever connected anew closes the one before."""
        self._api = api

    def failed(self, error: ApiError) -> None:
        """Also of requests that others made to the same API: writing waits as long."""
        if error.may_pass:
            self._not_before = self._clock.monotonic() + self._backoff.failed(error.retry_after)

    async def write(self, make: Callable[[], Plan | None]) -> Outcome:
        """`make` is called when it is its turn, so that what was written or decided meanwhile
        counts; None or an empty plan costs no turn. Raises nothing that the API does."""
        while wait := self.waiting or self._bucket.wait():
            await self._pause(wait)
        plan = make()
        if plan is None or plan.empty:
            self._bucket.put_back()
            return Outcome("unchanged")
        if self._dry_run:
            self._bucket.put_back()
            return self._dry(plan)
        if self._fence is not None and not await self._fence():
            self._bucket.put_back()
            return Outcome("unchanged")
        outcome = await self._write(plan)
        self.counts[outcome.result] += 1
        if outcome.error is None:
            self._backoff.succeeded()
        else:
            self.failed(outcome.error)
            log.log(
                logging.INFO if outcome.result == "conflict" else logging.WARNING,
                "pressure: not written: %s",
                outcome.error,
                extra={"node": plan.name, "result": outcome.result},
            )
        return outcome

    def _dry(self, plan: Plan) -> Outcome:
        """What would be done is said when it is something else than the last time."""
        what = plan.uid, _VARYING.sub("", plan.text())
        if self._shown.get(plan.name) == what:
            return Outcome("unchanged")
        self._shown[plan.name] = what
        self.counts["dry_run"] += 1
        for line in plan.text().splitlines():
            self._show(f"dry run: {line}")
        return Outcome("dry_run")

    async def _write(self, plan: Plan) -> Outcome:
        node: Object | None = None
        try:
            if plan.taints is not None:
                node = await self._api.patch(
                    NODES, plan.name, plan.taints, kind="json", manager=self._manager
                )
            if plan.body is not None:
                while plan.taints is not None and (wait := self._bucket.wait()):
                    await self._pause(wait)  # two requests take two turns
                if plan.taints is not None and self._fence is not None and not await self._fence():
                    return Outcome("unchanged")
                node = await self._api.apply(
                    NODES, plan.name, plan.body, manager=self._manager, subresource="status"
                )
        except ApiError as error:
            return Outcome(_result(error), None, error)
        return Outcome("written", node)


def _result(error: ApiError) -> Result:
    """422: a patch's test failed, or the uid is another Node's; of a body that is invalid too,
    which looking anew does not cure, so whoever writes again after a conflict waits in between."""
    if error.may_pass:
        return "failed"
    if error.not_found:
        return "gone"
    return "conflict" if error.conflict or error.status == 422 else "refused"
