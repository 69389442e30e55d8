"""What was true: whether the victim hurt while the antagonist was on, from its own latencies. Pure.

p99 of an event against that of quiet windows of 1,500 requests, of each service; the worse counts.
Over 1.8 times it was harm, under 1.2 none; in between nobody can say (a twentieth of quiet 1 s
windows is over 1.5), and it is not scored.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Literal, NamedTuple

WINDOW_REQUESTS = 1500
CALM, HARM, OBJECTIVE_TIMES = 1.2, 1.8, 1.5

Label = Literal["harm", "grey", "calm"]
Between = Callable[[str, float, float], Sequence[float]]
"""Latencies of a service's requests that were meant to go from then to then."""


class Truth(NamedTuple):
    """`ratio`: p99 over solo, of the service that suffers more."""

    ratio: float
    label: Label


def p99(latencies: Sequence[float]) -> float:
    """Raises ValueError where there are none."""
    rows = sorted(latencies)
    if not rows:
        raise ValueError("p99 of no requests")
    return rows[min(len(rows) * 99 // 100, len(rows) - 1)]


def solo_p99(between: Between, service: str, quiet: Sequence[tuple[float, float]]) -> float:
    """The median over windows of 1,500 requests of the quiet stretches put together; of all of
    them where that is not one window. Raises ValueError where there were no requests."""
    rows = [each for start, stop in quiet for each in between(service, start, stop)]
    windows = [
        rows[at : at + WINDOW_REQUESTS]
        for at in range(0, len(rows) - WINDOW_REQUESTS + 1, WINDOW_REQUESTS)
    ]
    return median(p99(each) for each in windows or [rows])


def truth(role: str, ratio: float) -> Truth:
    """What is no antagonist is never interference, whatever it does to the victim."""
    if role != "antagonist":
        return Truth(ratio, "calm")
    return Truth(ratio, "harm" if ratio > HARM else "calm" if ratio < CALM else "grey")


def quiet_stretches(
    events: Sequence[tuple[float, float]], start: float, stop: float, settle: float
) -> list[tuple[float, float]]:
    """What is left between events, `settle` seconds after each left out."""
    found: list[tuple[float, float]] = []
    at = start
    for begins, ends in sorted(events):
        if begins > at:
            found.append((at, begins))
        at = max(at, ends + settle)
    if stop > at:
        found.append((at, stop))
    return found
