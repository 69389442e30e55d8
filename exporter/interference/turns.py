"""Whose turn it is: each rule visits its own subjects, each at the rule's interval, spread over it.

The rule: due times lie on a fixed grid that names alone decide, so that a pod more or less moves
nobody else's turn, and the work of an interval is spread over its seconds. Pure: no clock.
"""

import heapq
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exporter.interference.model import Rule, Subject

SPREAD_SECONDS = 1.0
"""Turns of one rule are so far apart: more often than at each tick nobody looks."""


class Group:
    """Subjects of one rule whose turns come together."""

    __slots__ = ("interval", "phase", "plan", "queued", "slack", "subjects")

    def __init__(self, plan: "Plan", phase: float, interval: float) -> None:
        self.plan, self.phase, self.interval = plan, phase, interval
        self.slack = min(interval * 0.1, 0.25)
        self.subjects: list[Subject] = []
        self.queued = False

    def after(self, now: float) -> float:
        """The first turn that is later than now, and more than a little."""
        turns = math.floor((now + self.slack - self.phase) / self.interval) + 1
        return self.phase + turns * self.interval


class Plan:
    """One rule with its subjects. `data` is the engine's."""

    def __init__(self, rule: Rule, data: Any) -> None:
        self.rule, self.data = rule, data
        count = max(1, round(rule.check_interval / SPREAD_SECONDS))
        begin = _share(f"{rule.scope} {rule.name}") * rule.check_interval
        step = rule.check_interval / count
        self.groups = [Group(self, begin + step * i, rule.check_interval) for i in range(count)]
        self._pattern: Any = None
        if rule.subjects is not None:
            import re2  # 2 MB that most agents never need

            self._pattern = re2.compile(rule.subjects)

    def wants(self, subject: Subject) -> bool:
        rule = self.rule
        if subject.scope != rule.scope:
            return False
        if rule.scope == "container" and rule.work is not None and subject.work != rule.work:
            return False
        if self._pattern is None:
            return bool(subject.name) or rule.scope == "node"  # all jobs together is asked for
        names = (subject.name, subject.pod) if subject.pod else (subject.name,)
        return any(self._pattern.search(name) for name in names)

    def group_of(self, subject: Subject) -> Group:
        return self.groups[zlib.crc32(subject.name.encode()) % len(self.groups)]


class Turns:
    """All plans' groups by the time of their next turn."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.subjects: frozenset[Subject] = frozenset()
        self._given: Sequence[Subject] = ()
        self._heap: list[tuple[float, int, Group]] = []
        self._count = 0
        self._last: float | None = None

    def set_plans(self, plans: Sequence[Plan]) -> None:
        """Plans that were there before keep their subjects and their turns."""
        new = [plan for plan in plans if plan not in self.plans]
        self.plans = list(plans)
        self._heap = [turn for turn in self._heap if turn[2].plan in self.plans]
        heapq.heapify(self._heap)
        for plan in new:
            self._admit(plan, self.subjects)

    def set_subjects(self, given: Sequence[Subject], now: float) -> frozenset[Subject]:
        """Those that are gone. Costs nothing where the very same sequence is given again."""
        if self._last is None:
            self._last = now
        if given is self._given:
            return frozenset()
        self._given = given
        there = frozenset(given)
        new, gone = there - self.subjects, self.subjects - there
        self.subjects = there
        if gone:
            for plan in self.plans:
                for group in plan.groups:
                    if not gone.isdisjoint(group.subjects):
                        group.subjects = [one for one in group.subjects if one not in gone]
        if new:
            for plan in self.plans:
                self._admit(plan, new)
        return gone

    def due(self, now: float) -> Iterator[Group]:
        """Groups whose turn has come since the last call; each once, however late it is."""
        self._last = now
        heap = self._heap
        while heap and heap[0][0] <= now + heap[0][2].slack:
            _, _, group = heapq.heappop(heap)
            group.queued = False
            if group.subjects:
                yield group
                self._push(group)

    def _admit(self, plan: Plan, subjects: Iterable[Subject]) -> None:
        for subject in subjects:
            if plan.wants(subject):
                group = plan.group_of(subject)
                group.subjects.append(subject)
                self._push(group)

    def _push(self, group: Group) -> None:
        if group.queued:
            return
        group.queued = True
        self._count += 1
        due = group.after(self._last or 0.0)
        heapq.heappush(self._heap, (due, self._count, group))


def _share(name: str) -> float:
    return zlib.crc32(name.encode()) % 1009 / 1009
