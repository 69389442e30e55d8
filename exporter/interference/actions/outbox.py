"""What is to be sent to webhooks, in order: batched, once each, tried again, never without bound.

The rule: each incident's begin and end are sent once; while a receiver is down they wait, the
oldest being dropped (and counted) when there are too many. Pure: knows no socket and no thread.
"""

from collections import deque
from typing import NamedTuple

MOST_WAITING = 1000
MOST_IN_BATCH = 64
_FIRST_WAIT, _LAST_WAIT = 1.0, 60.0
_GATHER_SECONDS = 1.0


class Notice(NamedTuple):
    """`state` is "firing" or "resolved"; `alert` one of Alertmanager's alerts."""

    run: str
    state: str
    alert: dict[str, object]


class Outbox:
    """For one address. Not for several threads."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._waiting: deque[Notice] = deque()
        self._going: set[str] = set()  # runs whose begin was taken in, and no end
        self._over: dict[str, None] = {}  # the newest whose end was
        self._wait = _FIRST_WAIT
        self._next_at = float("-inf")
        self.dropped = 0
        self.delivered = 0
        self.problem = ""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def remembered(self) -> int:
        """Incidents that are over, and known to have been told."""
        return len(self._over)

    def add(self, notice: Notice, now: float) -> bool:
        """False where it was said already. An end whose begin was not said here is told: an agent
        before this one may have begun it."""
        if notice.run in (self._over if notice.state == "resolved" else self._going):
            return False
        if not self._waiting and not self.problem:
            self._next_at = now + _GATHER_SECONDS  # others may come along
        self._waiting.append(notice)
        if notice.state == "resolved":
            self._going.discard(notice.run)
            self._over[notice.run] = None
            if len(self._over) > self._most:
                del self._over[next(iter(self._over))]
        else:
            self._going.add(notice.run)
        if len(self._waiting) > self._most:
            self._waiting.popleft()
            self.dropped += 1
        return True

    def next_at(self) -> float | None:
        """When there will be something to send; None: when something comes."""
        return self._next_at if self._waiting else None

    def batch(self, now: float) -> list[Notice]:
        """What to send now, all of one state; empty where nothing is due."""
        if not self._waiting or now < self._next_at:
            return []
        found: list[Notice] = []
        for notice in self._waiting:
            if notice.state != self._waiting[0].state or len(found) == MOST_IN_BATCH:
                break
            found.append(notice)
        return found

    def done(self, batch: list[Notice], now: float) -> None:
        self.delivered += len(batch)
        self._forget(batch)
        self._wait, self._next_at, self.problem = _FIRST_WAIT, now, ""

    def refused(self, batch: list[Notice], now: float, problem: str) -> None:
        """The receiver will not have these, ever."""
        self.dropped += len(batch)
        self._forget(batch)
        self._next_at, self.problem = now, problem

    def failed(self, now: float, problem: str, retry_after: float | None = None) -> None:
        self._next_at = now + max(self._wait, retry_after or 0.0)
        self._wait = min(self._wait * 2, _LAST_WAIT)
        self.problem = problem

    def _forget(self, batch: list[Notice]) -> None:
        gone = set(map(id, batch))
        while self._waiting and id(self._waiting[0]) in gone:
            self._waiting.popleft()
