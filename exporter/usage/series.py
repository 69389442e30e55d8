"""What is kept over time, and who reads it: the seam between sources and the store.

A source reads the machine and gives totals and values by series; it knows neither the store nor
windows. The store keeps them; it knows no file of the kernel's.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

Kind = Literal["gauge", "counter"]
TierName = Literal["fast", "slow", "pods"]


class Series(NamedTuple):
    """`name` is unique within a tier: "node.cpu.busy_seconds", "pod/<uid>/<container>.cpu_seconds".
    What stands before its last dot is the thing measured, what follows the measure, in base units.

    A counter's values are totals since whenever, which may begin anew; a gauge's are as of now.
    Make each Series once and keep it: a tick hands over thousands."""

    name: str
    kind: Kind


Read = Callable[[float], Mapping[Series, float]]
"""read(now), `now` being the clock's monotonic seconds. What is unknown is not in it, never 0.
A series that is missing once begins anew: its next delta is unknown too. May raise NoData where
there is nothing of the kind, and OSError, ValueError or KernmeshError: then nothing of this
source is known at this tick, which the sampler says once. Called from one thread at a time, and
never again once the agent stops."""


class Source(NamedTuple):
    """One row of the table of sources. `name` is for the log. `tiers` are what it feeds: "fast"
    (every second, 15 minutes kept), "slow" (every 10 s, a day), "pods" (every 10 s, an hour;
    where whatever comes and goes with pods belongs). `make` gives each tier a reader of its own,
    for a reader may remember what it read last."""

    name: str
    tiers: tuple[TierName, ...]
    make: Callable[[], Read]
