"""What levels cost of themselves, without an API: how often they change, for how long they are
wrong and in which way, and how late they begin and end.
"""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.pressure_simulation.load import LOOP, SAMPLES, WARM, Usage
from exporter.pressure.levels import START, Settings, advance

_LASTS_BEGUN, _LASTS_ENDED = 11, 40
"""Samples for which a crossing must last to be one whose delay counts."""


class Cost(NamedTuple):
    """`labelled` seconds while calm, `unlabelled` seconds while pressed; `begins` of crossings that
    leave the noise behind within a minute, `ends` of all, in seconds."""

    transitions: int
    labelled: float
    unlabelled: float
    begins: Sequence[float]
    ends: Sequence[float]


def cost_of(usages: Sequence[Usage], settings: Settings) -> Cost:
    transitions = labelled = unlabelled = 0
    begins, ends = list[float](), list[float]()
    for each in usages:
        state, stands = START, list[bool]()
        for index, value in enumerate(each.seen):
            before, state = state, advance(state, index * LOOP, value, settings)
            transitions += index >= WARM and state.level != before.level
            stands.append(state.level == "pressed")
        truth = each.truth
        labelled += sum(s and not t for s, t in zip(stands[WARM:], truth[WARM:], strict=True))
        unlabelled += sum(t and not s for s, t in zip(stands[WARM:], truth[WARM:], strict=True))
        for index in range(WARM, SAMPLES - _LASTS_ENDED):
            to = truth[index]
            lasts = _LASTS_BEGUN if to else _LASTS_ENDED
            if truth[index - 1] == to or stands[index - 1] == to or (to and not each.clear[index]):
                continue
            if all(after == to for after in truth[index : index + lasts]):
                at = next((at for at in range(index, SAMPLES) if stands[at] == to), SAMPLES)
                (begins if to else ends).append((at - index + 1) * LOOP)
    return Cost(transitions, labelled * LOOP, unlabelled * LOOP, begins, ends)
