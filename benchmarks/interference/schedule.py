"""What happens when: a seed's events, at random, which are the label. Pure.

Seven antagonists of every nine events, two hard negatives. Antagonists are dealt from one deck of
kinds × intensities, so that five seeds in a row meet each of them twice.
"""

from random import Random
from typing import Literal, NamedTuple

from benchmarks.interference.antagonists import INTENSITIES, KINDS

NEGATIVES = ("load x2", "load x0.5", "harmless", "cold cache", "throttled")
WARM_UP_SECONDS = 20.0
GAP_SECONDS = (9.0, 11.0)
LAST_SECONDS = 6.0
_NEGATIVE_SHARE = 2 / 9

Role = Literal["antagonist", "negative"]


class Planned(NamedTuple):
    """`start` and `stop` in seconds since the recording began. `intensity` 0: a negative;
    `cgroup` is which of the five offline ones (0 to 4) something is started in."""

    role: Role
    kind: str
    intensity: int
    cgroup: int
    start: float
    stop: float


def plan(seed: int, events: int, seconds: float) -> list[Planned]:
    """`seconds` is how long each event lasts."""
    random = Random(f"interference {seed}")
    negatives = round(events * _NEGATIVE_SHARE)
    chosen: list[tuple[Role, str, int]] = []
    deck = [(kind, intensity) for kind in KINDS for intensity in INTENSITIES]
    Random("the deck").shuffle(deck)
    first = (seed - 1) * (events - negatives)
    for number in range(events - negatives):
        chosen.append(("antagonist", *deck[(first + number) % len(deck)]))
    for number in range(negatives):
        name = NEGATIVES[((seed - 1) * negatives + number) % len(NEGATIVES)]
        chosen.append(("negative", name, 0))
    random.shuffle(chosen)
    found: list[Planned] = []
    at = WARM_UP_SECONDS
    for role, name, intensity in chosen:
        found.append(Planned(role, name, intensity, random.randrange(5), at, at + seconds))
        at += seconds + random.uniform(*GAP_SECONDS)
    return found


def lasts(planned: list[Planned]) -> float:
    """Seconds of the whole recording."""
    return max((each.stop for each in planned), default=WARM_UP_SECONDS) + LAST_SECONDS
