"""When each probe of a round is due. Pure: no clock is read, no list is known.

The rule: sends are spread evenly over the round's period; a round that is late is finished and
the next one moves back, so that two probes of a pair are never less than the floor apart.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from pingmesh.pinglist import SHORTEST_INTERVAL

_Key = TypeVar("_Key", bound=Hashable)


class Plan(NamedTuple):
    """One round: `sends` sends from `start` on, over `period` seconds (monotonic clock)."""

    start: float
    period: float
    sends: int

    def due_at(self, index: int) -> float:
        return self.start + self.period * index / self.sends

    def due(self, now: float) -> int:
        """How many sends are due by `now`: those with an index below it."""
        if now < self.start or not self.sends:
            return 0
        ahead = min(self.sends, int((now - self.start) / self.period * self.sends) + 1)
        # Division and multiplication round differently: due_at decides.
        while ahead < self.sends and self.due_at(ahead) <= now:
            ahead += 1
        while ahead > 0 and self.due_at(ahead - 1) > now:
            ahead -= 1
        return ahead


def plan(
    start: float, count: int, interval: float, max_rate: float, floor: float = SHORTEST_INTERVAL
) -> Plan:
    """A round of `count` sends. Its period is the interval, or longer where `max_rate` (sends a
    second) asks for that. `floor`: seconds, here and below."""
    return Plan(start, max(interval, floor, count / max_rate), count)


def next_start(
    done: Plan, lateness: float, last_send: float, floor: float = SHORTEST_INTERVAL
) -> float:
    """When the round after `done` begins. `lateness` is the most that any of its sends came after
    it was due; with the same targets in the same order every gap is at least the floor."""
    return max(done.start + done.period, done.start + lateness + floor, last_send)


def resume(
    keys: Sequence[_Key],
    last_sent: Mapping[_Key, float],
    plan_: Plan,
    floor: float = SHORTEST_INTERVAL,
) -> tuple[list[int], Plan]:
    """The order of a changed list's probes, and its first round.

    What was probed lately comes in the order in which it was, after what is new; the round begins
    as late as the floor asks for those that stay."""
    new = [index for index, key in enumerate(keys) if key not in last_sent]
    known = [index for index, key in enumerate(keys) if key in last_sent]
    known.sort(key=lambda index: last_sent[keys[index]])
    order = [*new, *known]
    start = plan_.start
    for position in range(len(new), len(order)):
        slot = plan_.due_at(position) - plan_.start
        start = max(start, last_sent[keys[order[position]]] + floor - slot)
    return order, plan_._replace(start=start)
