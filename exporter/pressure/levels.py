"""Whether a resource is under pressure: pure hysteresis over samples, one small State each.

The rule: pressure begins when enough of the last samples are over `high`, and ends when all that
was known for `hold` seconds was under `low`. What is unknown changes nothing, until nothing has
been known for too long; then the level is unknown, not calm. Knows no clock, resource or Node.
"""

import math
from typing import Literal, NamedTuple

Level = Literal["calm", "pressed", "unknown"]


class Settings(NamedTuple):
    """`high` and `low` in the samples' unit, low ≤ high. Pressure begins when `at_least` of the
    last `of` known samples are over `high`, and ends after `hold` seconds under `low`;
    `expire_after` is how many seconds without a sample a level holds."""

    high: float
    low: float
    of: int = 10
    at_least: int = 8
    hold: float = 300.0
    expire_after: float = 600.0


class State(NamedTuple):
    """`over` has a bit for each of the last samples, the newest lowest: over `high`. `under` is for
    how many seconds in a row all that was known has been under `low`, None where the last sample
    was not. `known_at` is the last sample's time, `at` that of the last `advance`; None: never."""

    level: Level = "unknown"
    over: int = 0
    under: float | None = None
    known_at: float | None = None
    at: float | None = None


START = State()
"""Of what nothing has been known yet: the first sample makes it calm, or pressed."""


def adopted(now: float) -> State:
    """Of a resource whose mark stands already (somebody restarted): pressed, to be held until
    samples say otherwise or `expire_after` from now."""
    return State("pressed", known_at=now, at=now)


def advance(state: State, now: float, value: float | None, settings: Settings) -> State:
    """The state at `now`, in seconds of a clock that never goes back; `value` None or no number:
    unknown. Time in which nothing was known ends no hold."""
    known_at = state.known_at
    if known_at is not None and now - known_at > settings.expire_after:
        if value is None or math.isnan(value):
            return State("unknown", known_at=known_at, at=now)
        state = START  # what was before is too old to say anything about now
    elif value is None or math.isnan(value):
        return state._replace(at=now)
    over = (state.over << 1 | (value > settings.high)) & (1 << settings.of) - 1
    if state.level == "pressed":
        if value >= settings.low:
            return State("pressed", over, None, now, now)
        since = now if state.at is None else state.at
        under = 0.0 if state.under is None else state.under + max(now - since, 0.0)
        if under < settings.hold:
            return State("pressed", over, under, now, now)
        over = 0  # samples of the pressure that is over begin no other
    elif over.bit_count() >= settings.at_least:
        return State("pressed", over, None, now, now)
    return State("calm", over, None, now, now)


def age(state: State, now: float) -> float | None:
    """Seconds since the last known sample; None where there was none."""
    return None if state.known_at is None else max(now - state.known_at, 0.0)
