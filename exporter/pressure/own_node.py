"""Agent mode: one agent labels the Node that it runs on.

    samples ─▶ Deciding ─▶ wanted ─┬▶ plan ─▶ Writer ─▶ the API
                    the Node, read ─┘

The rule: the numbers that decide are those that /metrics shows; whatever the API does, levels go
on; what stands is looked at before each write, and now and then. Knows no HTTP.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.errors import KernmeshError
from exporter.kube.api import NODES, ApiError, KubeApi
from exporter.kube.backoff import Backoff
from exporter.metrics.table import FastFamily
from exporter.pressure import facts
from exporter.pressure.crane import Crane, Writing
from exporter.pressure.deciding import Sampling
from exporter.pressure.marks import HEARTBEAT_SECONDS, NOTHING, Marks, Wanted, stamp, wanted
from exporter.pressure.plan import Plan, plan
from exporter.pressure.standing import Field, Standing, look
from exporter.pressure.writer import Result, Writer

MANAGER = "kernmesh-agent"
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 300.0
"""How often the Node is read although nothing is to be written: somebody may have changed it."""
CONNECT_SECONDS = 30.0
CLEAR_SECONDS = 5.0
"""How long the end of an agent waits for the API."""

log = logging.getLogger(__name__)


class Subject(NamedTuple):
    """`settle` is for how many seconds after the start unknown levels are not told."""

    node: str
    settle: float
    marks: Marks = Marks()
    crane: Crane | None = None
    dry_run: bool = False
    clear_on_stop: bool = True


class OwnNode:
    """A Collector. `connect` makes the API's client and may raise KernmeshError, which is tried
    again."""

    def __init__(
        self,
        subject: Subject,
        sampling: Sampling,
        clock: Clock,
        connect: Callable[[], KubeApi],
        *,
        requests: facts.Requests | None = None,
        show: Callable[[str], None] = log.info,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._subject, self._sampling, self._clock = subject, sampling, clock
        self.deciding = sampling.deciding
        self._connect, self._show, self._pause = connect, show, pause
        self._requests = requests or facts.Requests()
        self._crane = Writing(subject.crane) if subject.crane else None
        self._api: KubeApi | None = None
        self._writer: Writer | None = None
        self._backoff = Backoff()
        self._started = clock.monotonic()
        self._looked = False
        self._control_plane = False
        self._beat, self._beat_at = "", float("-inf")
        self._stands: Wanted | None = None
        self._look_again = self._not_before = float("-inf")
        self._unwritten_since: float | None = None
        self._left: Mapping[Field, str] = {}
        self.problem = ""
        """Why the Node is not as it should be, "" where it is."""

    # --- what is wanted

    def wanted(self) -> Wanted | None:
        """What should stand now; None while that is not known."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        levels = self.deciding.levels
        if not self._looked or (
            "pressed" not in levels.values()
            and "unknown" in levels.values()
            and now - self._started < self._subject.settle
        ):
            return None
        due = now - self._beat_at >= HEARTBEAT_SECONDS
        notes: Mapping[str, str] = {}
        if self._crane is not None:
            fresh = self._crane.fresh(now, wall, self._sampling.value)
            notes = {**self._crane.texts, **fresh}
        return wanted(
            levels,
            self._subject.marks,
            control_plane=self._control_plane,
            heartbeat=stamp(wall) if due else self._beat,
            annotations=notes,
        )

    # --- writing

    async def run(self) -> None:
        """Until it is cancelled; then our marks go, if that is wanted."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._deciding())
                group.create_task(self._keeping())
        finally:
            await self._end()

    async def _deciding(self) -> None:
        while True:
            try:
                self._sampling.look(self._clock.monotonic())
            except Exception as error:  # what nobody thought of costs this sample, not the agent
                log.error("pressure: deciding failed", exc_info=error)
            await self._pause(LOOK_SECONDS)

    async def _keeping(self) -> None:
        while True:
            try:
                await self.keep()
            except Exception as error:
                self._fail(f"{type(error).__name__}: {error}", error)
            await self._pause(LOOK_SECONDS)

    async def keep(self) -> None:
        """Brings the Node to what is wanted, if it is not so already and the API may be asked."""
        now = self._clock.monotonic()
        if now < self._not_before:
            return
        if self._api is None and not self._connected():
            return
        want = self.wanted()
        if self._looked and now < self._look_again and want in (None, self._stands):
            return
        if self._unwritten_since is None and want != self._stands:
            self._unwritten_since = now
        await self._bring()

    async def _bring(self) -> None:
        assert self._api is not None and self._writer is not None
        try:
            standing = await self._look()
        except ApiError as error:
            await self._failed(error)
            return
        written: list[Wanted] = []

        def make() -> Plan | None:
            want = self.wanted()
            if want is None:
                return None
            written.append(want)
            return self._plan(standing, want)

        outcome = await self._writer.write(make)
        now = self._clock.monotonic()
        if outcome.error is not None:
            await self._failed(outcome.error, outcome.result)
            return
        self.problem = ""
        self._backoff.succeeded()
        self._look_again = now + AGAIN_SECONDS
        if written:
            self._stood(written[-1], now)

    async def _look(self) -> Standing:
        assert self._api is not None
        names = self._subject.crane.periods if self._subject.crane else ()
        node = await self._api.get(NODES, self._subject.node)
        standing = look(node, MANAGER, self._subject.marks, names)
        self._control_plane = standing.control_plane
        if not self._looked:  # what an agent before this one left, it is our turn to take away
            self.deciding.adopt(standing.pressed(self._subject.marks), self._clock.monotonic())
            if self._crane is not None:
                notes = standing.annotations.items()
                self._crane.adopt(
                    {k: v for k, v in notes if Field("annotation", k) in standing.ours}
                )
            self._looked = True
        return standing

    def _plan(self, standing: Standing, want: Wanted) -> Plan:
        made = plan(standing, want, self._subject.marks, self._clock.wall())
        for field, owner in made.left.items():
            if self._left.get(field) != owner:
                log.warning("pressure: %s is %s's and left alone", field, owner)
        self._left = made.left
        return made

    def _stood(self, want: Wanted, now: float) -> None:
        beat = want.annotations.get(self._subject.marks.heartbeat_key)
        if beat and beat != self._beat:
            self._beat, self._beat_at = beat, now
        if self._crane is not None:
            self._crane.written(want.annotations, now)
        self._stands, self._unwritten_since = want, None

    async def _failed(self, error: ApiError, result: Result = "failed") -> None:
        """The next attempt is later, and by the Node as it is then. Where we are not known (any
        more), also by the credentials that there are then: a kubeconfig may have been renewed."""
        self._stands = None
        if error.status == 401 and self._api is not None:
            await self._api.close()
            self._api = None
        wait = self._backoff.failed(error.retry_after)
        if result != "conflict" or self._backoff.failures > 1:
            self._not_before = self._clock.monotonic() + wait
            self._fail(str(error))

    def _fail(self, problem: str, error: Exception | None = None) -> None:
        if problem != self.problem:
            log.warning("pressure: the node is as it was: %s", problem, exc_info=error)
        self.problem = problem

    def _connected(self) -> bool:
        try:
            self._api = self._connect()
        except KernmeshError as error:
            self._not_before = self._clock.monotonic() + CONNECT_SECONDS
            self._fail(str(error))
            return False
        if self._writer is not None:
            self._writer.use(self._api)
            return True
        self._writer = Writer(
            self._api,
            self._clock,
            MANAGER,
            self._pause,
            dry_run=self._subject.dry_run,
            show=self._show,
        )
        return True

    async def _end(self) -> None:
        """Bounded: whoever waits for the agent's end does not wait for the API's."""
        if self._api is None or self._writer is None:
            return
        try:
            async with asyncio.timeout(CLEAR_SECONDS):
                if self._looked and self._subject.clear_on_stop and not self._subject.dry_run:
                    await self._clear()
        except TimeoutError:
            log.warning("pressure: the API does not answer, what was written stays on the node")
        finally:
            await self._api.close()

    async def _clear(self) -> None:
        assert self._writer is not None
        for _ in range(3):  # a Node is written by many
            try:
                standing = await self._look()
            except ApiError as error:
                log.warning("pressure: what was written stays on the node: %s", error)
                return
            outcome = await self._writer.write(partial(self._plan, standing, NOTHING))
            if outcome.result != "conflict":
                return

    # --- what is shown

    def problems(self) -> Iterator[str]:
        if self.problem:
            yield f"pressure: {self.problem}"
        for field, owner in self._left.items():
            yield f"pressure: {field} is {owner}'s and left alone"

    def collect(self) -> Iterable[Metric]:
        now = self._clock.monotonic()
        yield from facts.of_levels(self.deciding, now)
        if self._writer is not None:
            yield facts.of_writes(self._writer.counts)
        since = self._unwritten_since
        yield FastFamily.of(facts.UNWRITTEN, {(): 0.0 if since is None else now - since})
        left = {(str(field), owner): 1.0 for field, owner in self._left.items()}
        yield FastFamily.of(facts.LEFT, left)
        yield from self._requests.families()
