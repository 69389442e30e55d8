"""All that kernmesh wrote on Nodes, taken away: for whoever takes kernmesh out of a cluster.

The rule: ours is what managedFields say that one of our managers applied, and the taint of our key;
nothing else is touched. Who wrote it may live for a while yet, so that Nodes are looked at until
none has had anything of ours for some time.
"""

from collections.abc import Awaitable, Callable, Sequence

from exporter.clock import Clock
from exporter.kube.api import NODES, ApiError, KubeApi, Object, every
from exporter.labeller.crane_notes import MANAGER as CRANE
from exporter.labeller.nodes import MANAGER as LABELLER
from exporter.pressure.marks import NOTHING, Marks
from exporter.pressure.own_node import MANAGER as AGENT
from exporter.pressure.plan import plan
from exporter.pressure.standing import look
from exporter.pressure.writer import Writer

MANAGERS = (AGENT, LABELLER, CRANE)
WRITES_PER_SECOND = 20.0
LOOK_SECONDS = 5.0


class Cleaning:
    """`prefixes` are those of pressure.keys; taints are found by them, all else by who owns it.
    `say` hears what was done, or in a dry run would be."""

    def __init__(
        self,
        api: KubeApi,
        clock: Clock,
        pause: Callable[[float], Awaitable[None]],
        say: Callable[[str], None],
        *,
        prefixes: Sequence[str] = (Marks().prefix,),
        dry_run: bool = False,
    ) -> None:
        self._api, self._clock, self._pause, self._say = api, clock, pause, say
        self._marks = [Marks(prefix) for prefix in prefixes]
        self._writers = {
            manager: Writer(
                *(api, clock, manager, pause),
                rate=WRITES_PER_SECOND,
                dry_run=dry_run,
                show=say,
            )
            for manager in MANAGERS
        }
        self._dry_run = dry_run

    async def run(self, quiet: float = 0.0, patience: float = 300.0) -> bool:
        """Until no Node has had anything of ours for `quiet` seconds; False if that was not so
        after `patience`. Raises ApiError for what waiting does not cure."""
        begun = clean_since = self._clock.monotonic()
        while True:
            try:
                clean = await self._look()
            except ApiError as error:
                if not error.may_pass and not error.gone:
                    raise
                self._say(f"is tried again: {error}")
                clean = False
            now = self._clock.monotonic()
            if self._dry_run and clean:
                return True
            clean_since = clean_since if clean else now
            if clean and now - clean_since >= quiet:
                return True
            if now - begun >= patience:
                return False
            await self._pause(min(LOOK_SECONDS, quiet - (now - clean_since)) if clean else 1.0)

    async def _look(self) -> bool:
        """Whether nothing was to be done, at any Node."""
        clean = True
        async for node in every(self._api, NODES):
            clean &= await self._clean(node)
        return clean

    async def _clean(self, node: Object) -> bool:
        clean, gone = True, False
        for manager, writer in self._writers.items():
            for marks in self._marks:
                made = plan(look(node, manager, marks), NOTHING, marks, self._clock.wall())
                if made.empty:
                    continue
                outcome = await writer.write(lambda made=made: made)  # type: ignore[misc]
                if outcome.error is not None:
                    if outcome.result == "refused":
                        raise outcome.error
                    clean = False
                elif outcome.node is not None:
                    node, clean, gone = outcome.node, False, True
        if gone:
            self._say(f"node {made.name}: what kernmesh wrote is gone")
        return clean
