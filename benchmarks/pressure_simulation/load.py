"""An hour of a node's usage: a curve without noise, and what a sampler sees of it. Made up.

Seven kinds of ten are calm, two have episodes, one stays about the threshold. The noise is each
sample's own, with a spike now and then, as a sample of ten seconds has.
"""

import math
from random import Random
from typing import NamedTuple

LOOP, WARM, THRESHOLD = 10.0, 30, 80.0
"""Seconds between samples; how many come before the hour that counts; percent."""
SAMPLES = WARM + 360
NOISE, SPIKE, SPIKES = 3.0, 25.0, 0.01


class Usage(NamedTuple):
    """Percent. `truth`: whether the curve without noise is over the threshold. `clear`: whether it
    is over it by twice the noise a minute later."""

    seen: list[float]
    truth: list[bool]
    clear: list[bool]


def usage(seed: int, node: int) -> Usage:
    random = Random(seed * 1_000_003 + node)
    kind = random.random()
    if kind < 0.7:
        curve = [random.uniform(20, 60)] * SAMPLES
    elif kind < 0.9:
        curve = _episodes(random)
    else:
        curve = _about(random)
    gauss, chance = random.gauss, random.random
    seen = [
        min(100.0, max(0.0, at + gauss(0.0, NOISE) + (SPIKE if chance() < SPIKES else 0.0)))
        for at in curve
    ]
    later = [*curve[6:], *curve[-1:] * 6]
    truth = [at > THRESHOLD for at in curve]
    return Usage(seen, truth, [at > THRESHOLD + 2 * NOISE for at in later])


def _episodes(random: Random) -> list[float]:
    """From a calm base up to a plateau, in half a minute to a minute and a half, and back."""
    base, curve = random.uniform(30, 65), [0.0] * SAMPLES
    at = -random.uniform(0, 1200)
    while at < SAMPLES * LOOP:
        ramp, lasts = random.uniform(30, 90), random.uniform(300, 1200)
        height = random.uniform(86, 97) - base
        for index in range(SAMPLES):
            since = index * LOOP - at
            share = min(since / ramp, 1.0, (lasts + 2 * ramp - since) / ramp)
            if share > 0:
                curve[index] = share * height
        at += lasts + 2 * ramp + random.expovariate(1 / 1200)
    return [base + each for each in curve]


def _about(random: Random) -> list[float]:
    """A slow wave that crosses the threshold, or nearly does."""
    centre, height = THRESHOLD + random.uniform(-4, 4), random.uniform(1, 6)
    period, phase = random.uniform(600, 2400), random.uniform(0, 2 * math.pi)
    return [
        centre + height * math.sin(phase + 2 * math.pi * index * LOOP / period)
        for index in range(SAMPLES)
    ]
