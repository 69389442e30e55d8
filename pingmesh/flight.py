"""One round's probes on their way: what was sent, what came back, what did not.

The rule: a probe is settled once, and only by a packet that has its cookie and comes from where
it was sent to. Pure bookkeeping by index: no socket, no clock; whoever calls says what time it is.
"""

import os
from array import array
from collections import Counter
from typing import Final

from pingmesh.probes.packets import Token

UNSENT, WAITING, ANSWERED, FAILED, SKIPPED = range(5)

LOCAL_REASONS: Final = frozenset(
    {"permission", "descriptors", "buffers", "denied", "limit", "source", "stopped"}
)
"""Why a probe was not made at all: says nothing of the target, so it is neither good nor lost."""


class Flight:
    """Arrays of one entry per probe. `rtts` are seconds, NaN where there is no answer; `reasons`
    say why, for what was lost or not sent. `sources` are the addresses that may answer."""

    def __init__(self, number: int, count: int, timeout: float) -> None:
        self.number = number & 0xFFFFFFFF
        self.count = count
        self.timeout = timeout
        self.cookies = array("Q", os.urandom(8 * count))
        self.states = bytearray(count)
        self.sent_at = array("d", bytes(8 * count))
        self.sent_ns = array("q", bytes(8 * count))
        self.rtts = array("d", [float("nan")]) * count
        self.sources: list[str] = [""] * count
        self.reasons: dict[int, str] = {}
        self.hops: dict[int, str] = {}
        self.strays: Counter[str] = Counter()
        self.settled = 0
        self._order = array("L")
        self._oldest = 0

    def token(self, index: int) -> Token:
        return Token(self.number, index, self.cookies[index])

    def sent(self, index: int, source: str, at: float, wall_ns: int) -> None:
        """`at` monotonic seconds; `wall_ns` on the clock that stamps arrivals. Noted before the
        packet leaves: on loopback the answer is there when the call returns."""
        self.states[index] = WAITING
        self.sent_at[index] = at
        self.sent_ns[index] = wall_ns
        self.sources[index] = source
        self._order.append(index)

    def answer(self, slot: int, cookie: int, source: str, arrived_ns: int, now: float) -> None:
        """A reply with this round's number. `now` (monotonic) is when it was read: no round trip is
        longer than that, so a wall clock that was set meanwhile cannot make one."""
        if slot >= self.count:
            self.strays["foreign"] += 1
            return
        if self.cookies[slot] != cookie:
            self.strays["forged"] += 1
            return
        state = self.states[slot]
        if state != WAITING:
            self.strays["duplicate" if state == ANSWERED else "late"] += 1
            return
        if source != self.sources[slot]:
            self.strays["wrong source"] += 1
            return
        elapsed = now - self.sent_at[slot]
        rtt = (arrived_ns - self.sent_ns[slot]) * 1e-9
        if not 0.0 <= rtt <= elapsed:
            rtt = elapsed
        if rtt > self.timeout:
            self.strays["late"] += 1
            return
        self.states[slot] = ANSWERED
        self.rtts[slot] = rtt
        self.settled += 1

    def succeed(self, index: int, rtt: float) -> None:
        """An answer that somebody else has verified."""
        if self.states[index] <= WAITING:
            self.states[index] = ANSWERED
            self.rtts[index] = rtt
            self.settled += 1

    def fail(self, index: int, reason: str, hop: str = "") -> None:
        """Lost, or not sent where the reason is a local one. `hop` is who said so."""
        if self.states[index] > WAITING:
            return
        self.states[index] = SKIPPED if reason in LOCAL_REASONS else FAILED
        self.reasons[index] = reason
        if hop:
            self.hops[index] = hop
        self.settled += 1

    def find(self, token: Token | None, sequence: int, destination: str) -> int | None:
        """The waiting probe that an ICMP error speaks of. Without a token in the quote it is
        found by sequence number and destination."""
        if token is not None:
            if token.number != self.number or token.slot >= self.count:
                return None
            if self.cookies[token.slot] != token.cookie:
                return None
            return token.slot if self.states[token.slot] == WAITING else None
        for index in range(sequence, self.count, 0x10000):
            if self.states[index] == WAITING and self.sources[index] == destination:
                return index
        return None

    def expire(self, now: float) -> None:
        """Gives up what has waited longer than the timeout."""
        order, states = self._order, self.states
        horizon = now - self.timeout
        while self._oldest < len(order):
            index = order[self._oldest]
            if states[index] == WAITING:
                if self.sent_at[index] > horizon:
                    return
                self.fail(index, "timeout")
            self._oldest += 1

    def next_expiry(self) -> float | None:
        """When the oldest probe that waits is given up; None where none waits."""
        order, states = self._order, self.states
        while self._oldest < len(order):
            index = order[self._oldest]
            if states[index] == WAITING:
                return self.sent_at[index] + self.timeout
            self._oldest += 1
        return None

    @property
    def done(self) -> bool:
        return self.settled == self.count
