"""Brings every node to what its levels want, as few writes as can be, one at a time.

    Fleet's changes ─▶ pending ─▶ plan ─▶ Writer ─▶ the API
    the informer's  ──┘   ▲ again, if it did not go well

The rule: a node that stands as it should costs nothing; one that does not is planned for again when
its turn has come, so what is written is what is wanted then. Knows no HTTP and no sources.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from exporter.clock import Clock
from exporter.kube.api import NODES, ApiError, KubeApi
from exporter.kube.cache import Change
from exporter.labeller.fleet import Fleet
from exporter.labeller.nodes import MANAGER, Known
from exporter.pressure.marks import CONDITION, NOTHING, Marks, Wanted, wanted
from exporter.pressure.plan import Plan, plan
from exporter.pressure.standing import Field, Standing, look
from exporter.pressure.writer import Outcome, Writer

AGAIN_SECONDS = 2.0
REFUSED_SECONDS = 60.0
CLEAR_TRIES = 3  # at the end, of a node that was written by somebody else just then
_NOBODY: Mapping[Field, str] = {}

log = logging.getLogger(__name__)


class Keeper:
    """`settle` is for how many seconds after `begin` unknown levels change nothing. `known` has all
    nodes that there are."""

    def __init__(
        self, fleet: Fleet, marks: Marks, writer: Writer, api: KubeApi, clock: Clock, settle: float
    ) -> None:
        self._fleet, self._marks, self._writer = fleet, marks, writer
        self._api, self._clock, self._settle = api, clock, settle
        self.known: dict[str, Known] = {}
        self._pending: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._began: float | None = None
        self._clearing = self._settled = False
        self.left: Mapping[tuple[str, Field], str] = {}
        """What is somebody else's and was to be ours, by node; whose it is."""

    @property
    def begun(self) -> bool:
        return self._began is not None

    @property
    def pending(self) -> int:
        return len(self._pending)

    def unwritten(self) -> float:
        """For how long the one that waits longest has; 0 where none does."""
        since = next(iter(self._pending.values()), None)
        return 0.0 if since is None else self._clock.monotonic() - since

    # --- what is to be done

    def begin(self) -> None:
        """From now on it is ours to decide: what stands is taken over."""
        self._began, self._clearing = self._clock.monotonic(), False
        self._settled = False
        self._fleet.clear()
        for name, known in self.known.items():
            self._adopt(name, known)
        self.consider(self.known)

    def round(self, changed: Iterable[str]) -> None:
        """A round of values has been taken; the nodes of which a level changed."""
        if not self._settled and self._began is not None:
            self._settled = self._clock.monotonic() - self._began >= self._settle
            if self._settled:  # what is unknown still is told now
                changed = list(self.known)
        self.consider(changed)

    def end(self) -> None:
        """It is another's to decide."""
        self._began = None
        self._pending.clear()

    def changed(self, change: Change[Known]) -> None:
        """What the informer tells. `new` is newer than what we have written, or about to be."""
        name = change.key[1]
        if change.new is None:
            self.known.pop(name, None)
            self._done(name)
            self._fleet.forget(name)
            self._say_left(name, _NOBODY)
            return
        self.known[name] = change.new
        if self.begun:
            if change.old is None:
                self._adopt(name, change.new)
            self.consider((name,))

    def consider(self, names: Iterable[str]) -> None:
        """Those of them that are not as they should be are to be written."""
        now = self._clock.monotonic()
        for name in names:
            known = self.known.get(name)
            made = self._plan(known.standing) if known else None
            if made is None or made.empty:
                self._pending.pop(name, None)
            elif self.begun:
                self._pending.setdefault(name, now)
                self._wake.set()

    def want(self, standing: Standing) -> Wanted | None:
        """None while that is not known."""
        if self._clearing:
            return NOTHING
        if self._began is None:
            return None
        levels = self._fleet.levels(standing.name)
        pressed = "pressed" in levels.values()
        if (
            not pressed
            and "unknown" in levels.values()
            and self._clock.monotonic() - self._began < self._settle
            # What is known to be calm does not wait for what may never be known.
            and not any(levels.get(each) == "calm" for each in standing.pressed(self._marks))
        ):
            return None
        want = wanted(levels, self._marks, control_plane=standing.control_plane)
        ours = Field("condition", CONDITION) in standing.ours
        # A node that never was under pressure needs nobody to say so: a cluster of thousands would
        # take thousands of writes to begin with.
        return want if pressed or ours else want._replace(condition=None)

    # --- doing it

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            name = self.next()
            if name is None:
                self._wake.clear()
                wait = AGAIN_SECONDS if self._pending else None
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                continue
            try:
                await self.bring(name)
            except Exception as error:  # what nobody thought of costs this node, not the others
                log.error("pressure: node %s", name, exc_info=error)
                self._later(name, REFUSED_SECONDS)

    def next(self) -> str | None:
        """The node whose turn it is."""
        now = self._clock.monotonic()
        for name in self._pending:
            if self._not_before.get(name, now) <= now:
                return name
        return None

    async def bring(self, name: str) -> Outcome:
        def make() -> Plan | None:
            known = self.known.get(name)  # as it is when its turn has come
            return None if known is None else self._plan(known.standing)

        outcome = await self._writer.write(make)
        now = self._clock.monotonic()
        match outcome.result:
            case "written":
                assert outcome.node is not None
                self._stands(name, outcome)
            case "dry_run":
                self._done(name)
            case "unchanged":  # or it is not ours to write any more
                self.consider((name,))
                if name in self._pending:
                    self._later(name, AGAIN_SECONDS)
                else:
                    self._done(name)
            case "gone":  # the informer will say so, too
                self._later(name, AGAIN_SECONDS)
            case "conflict":
                await self._look(name)
                self._later(name, AGAIN_SECONDS)
            case "failed":  # the writer waits as long as the API wants, then it is anybody's turn
                since = self._pending.pop(name, now)
                self._pending[name] = since
            case "refused":
                self._later(name, REFUSED_SECONDS)
        return outcome

    async def clear(self) -> int:
        """Takes all that is ours away, as far as there is time for; how many are left."""
        self._clearing = True
        self.consider(self.known)
        again: Counter[str] = Counter()
        while self._pending:
            name = self.next()
            if name is None:  # whoever met a conflict is to wait, for which there is no time now
                name = next((each for each in self._pending if again[each] < CLEAR_TRIES), None)
                if name is None:
                    break
                again[name] += 1
            await self.bring(name)
        return len(self._pending)

    def _adopt(self, name: str, known: Known) -> None:
        pressed = known.standing.pressed(self._marks)
        if pressed:
            self._fleet.adopt(name, pressed, self._clock.monotonic())

    def _plan(self, standing: Standing) -> Plan | None:
        want = self.want(standing)
        if want is None:
            return None
        made = plan(standing, want, self._marks, self._clock.wall())
        self._say_left(standing.name, made.left)
        return made

    def _say_left(self, name: str, left: Mapping[Field, str]) -> None:
        if not left and not self.left:
            return
        before = {field: who for (node, field), who in self.left.items() if node == name}
        if before == left:
            return
        for field, owner in left.items():
            if before.get(field) != owner:
                log.warning("pressure: node %s: %s is %s's and left alone", name, field, owner)
        others = {key: who for key, who in self.left.items() if key[0] != name}
        self.left = others | {(name, field): who for field, who in left.items()}

    def _stands(self, name: str, outcome: Outcome) -> None:
        known = self.known.get(name)
        if known is not None and outcome.node is not None:
            standing = look(outcome.node, MANAGER, self._marks)
            self.known[name] = known._replace(standing=standing)
        self._done(name)
        self.consider((name,))

    def _done(self, name: str) -> None:
        self._pending.pop(name, None)
        self._not_before.pop(name, None)

    def _later(self, name: str, seconds: float) -> None:
        self._not_before[name] = self._clock.monotonic() + seconds

    async def _look(self, name: str) -> None:
        """After a conflict: the informer may not have heard yet of what there is."""
        try:
            node = await self._api.get(NODES, name)
        except ApiError as error:
            self._writer.failed(error)
            return
        known = self.known.get(name)
        if known is None:
            return
        standing = look(node, MANAGER, self._marks)
        if standing.uid == known.standing.uid:  # levels are of the node that they were seen of
            self.known[name] = known._replace(standing=standing)
