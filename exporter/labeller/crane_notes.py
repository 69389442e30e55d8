"""Crane's annotations of all nodes, from agents' values, and how hot each is by its newest pods.

The rule: they are fields of a manager of their own, written at a rate of their own, so that
pressure never waits for them. What is another's is left alone. Values and periods are
pressure/crane.py's.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from exporter.clock import Clock
from exporter.kube.api import NODES, ApiError, KubeApi, Object
from exporter.kube.cache import Change
from exporter.labeller.nodes import Known
from exporter.pressure.annotations import HOT_VALUE, Hot, hot_annotation, hot_value
from exporter.pressure.crane import Crane, Writing
from exporter.pressure.marks import Marks, stamped
from exporter.pressure.plan import Plan
from exporter.pressure.standing import look
from exporter.pressure.writer import Writer

MANAGER = "kernmesh-crane"

log = logging.getLogger(__name__)


class Bound(NamedTuple):
    """A pod that was bound to a node at `wall`, seconds since the epoch."""

    node: str
    wall: float


def bound(pod: Object) -> Bound | None:
    """None of a pod that is on no node yet, or of which nobody says when (docs/concepts/workloads/
    pods/pod-lifecycle, Pod conditions: PodScheduled)."""
    node = pod["spec"].get("nodeName")
    if not node:
        return None
    for each in pod.get("status", {}).get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "True":
            text = str(each.get("lastTransitionTime") or "")
            at = stamped(text)
            return None if at is None else Bound(str(node), at)
    return None


class HotNodes:
    """When pods were bound, by node, for as long as a rule looks back."""

    def __init__(self, rules: Sequence[Hot], clock: Clock) -> None:
        self._rules, self._clock = rules, clock
        self._longest = max((float(each.time_range) for each in rules), default=0.0)
        self._bound: dict[str, dict[tuple[str, str], float]] = {}

    def changed(self, change: Change[Bound]) -> None:
        """A pod that is gone was bound all the same: it counts as long as it would have."""
        new = change.new
        if new is not None and self._clock.wall() - new.wall <= self._longest:
            self._bound.setdefault(new.node, {})[change.key] = new.wall

    def value(self, node: str) -> int:
        pods, now = self._bound.get(node), self._clock.wall()
        if not pods:
            return 0
        kept = {key: at for key, at in pods.items() if now - at <= self._longest}
        if kept:
            self._bound[node] = kept
        else:
            del self._bound[node]
        return hot_value(kept.values(), now, self._rules)


class CraneNotes:
    def __init__(
        self, crane: Crane, hot: HotNodes | None, writer: Writer, api: KubeApi, clock: Clock
    ) -> None:
        self._crane, self._hot = crane, hot
        self._writer, self._api, self._clock = writer, api, clock
        self._writings: dict[str, tuple[str, Writing]] = {}
        self._left: dict[str, frozenset[str]] = {}

    @property
    def left(self) -> int:
        """Nodes that have annotations of others by our names."""
        return len(self._left)

    async def write(
        self, nodes: Mapping[str, Known], statistics: Mapping[str, Mapping[str, float]]
    ) -> None:
        """All that are due of these values. Raises nothing that the API does."""
        for name in [each for each in self._writings if each not in nodes]:
            del self._writings[name]
            self._left.pop(name, None)
        for name, values in statistics.items():
            known = nodes.get(name)
            if known is not None:
                await self._one(known, values)

    async def _one(self, known: Known, values: Mapping[str, float]) -> None:
        name, uid = known.standing.name, known.standing.uid
        before = self._writings.get(name)
        if before is None or before[0] != uid:
            before = self._writings[name] = uid, Writing(self._crane)
        writing = before[1]
        if not writing.fresh(self._clock.monotonic(), self._clock.wall(), values.get):
            return
        written: list[Mapping[str, str]] = []

        def make() -> Plan | None:
            now, wall = self._clock.monotonic(), self._clock.wall()
            fresh = writing.fresh(now, wall, values.get)
            left = self._left.get(name, frozenset())
            notes = {k: v for k, v in {**writing.texts, **fresh}.items() if k not in left}
            written.append({**writing.texts, **fresh})
            if self._hot is not None and HOT_VALUE not in left:
                notes[HOT_VALUE] = hot_annotation(self._hot.value(name), wall, self._crane.zone)
            if not notes:
                return None
            meta = {"name": name, "uid": uid, "annotations": notes}
            body = {"apiVersion": "v1", "kind": "Node", "metadata": meta}
            return Plan(name, uid, body, None, {})

        outcome = await self._writer.write(make)
        if outcome.result == "conflict":
            await self._look(name, uid)
        elif outcome.error is None and written:
            writing.written(written[-1], self._clock.monotonic())

    async def _look(self, name: str, uid: str) -> None:
        """Which of them are another's."""
        names = {*self._crane.periods, HOT_VALUE}
        try:
            node = await self._api.get(NODES, name)
        except ApiError as error:
            self._writer.failed(error)
            return
        standing = look(node, MANAGER, Marks(), names)
        theirs = frozenset(field.key for field in standing.others if field.key in names)
        if standing.uid == uid and theirs and self._left.get(name) != theirs:
            log.warning("crane: node %s: %s are others' and left alone", name, _list(theirs))
            self._left[name] = theirs


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
