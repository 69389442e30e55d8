"""What the node's online work leaves idle: predicted from how it has been used, as Caelus does.

    idle = total − percentile of use × (1 + margin) − reserve

CPU use is the 80th percentile of samples, memory use the 90th of each day's peak, both of decaying
histograms (half-life a day): a sample counts half as much a day later. Use is the node's less that
of offline work, which is what idle resources are for. Pure: time comes with the samples; knows no
clock and no file. Sources: Caelus pkg/caelus/types (margin 8 %, p80, p90, the smaller reserve),
Kubernetes' VPA recommender (buckets 5 % apart, a day's half-life and peak interval).
"""

import math
from typing import NamedTuple

import msgspec

HALF_LIFE = 86400.0
PEAK_INTERVAL = 86400.0
CPU_PERCENTILE = 0.8
MEMORY_PERCENTILE = 0.9
MARGIN = 0.08
RATIO = 1.05
FIRST_CPU = 0.01  # cores
FIRST_MEMORY = 1e7  # bytes
ENOUGH_SAMPLES = 3
LONGEST_SAMPLE = 60.0  # seconds that one sample may stand for
# Weights grow as time goes on; beyond this they are written down anew, against a later reference.
_MOST_HALF_LIVES = 100.0
# Of what was saved: beyond these it is no memory, no weight, and no bucket of either.
_LARGEST = 1e20
_LAST_BUCKET = 2000


class Reserve(NamedTuple):
    """What stays unpromised: the smaller of an absolute amount and a share of the total."""

    amount: float
    share: float

    def of(self, total: float) -> float:
        return min(self.amount, self.share * total)


CPU_RESERVE = Reserve(1.0, 0.1)
MEMORY_RESERVE = Reserve(2.0 * 2**30, 0.1)


class DecayingHistogram:
    """Weights in buckets, each 5 % wider than the one before. `at` are seconds that only grow."""

    def __init__(self, first: float, half_life: float = HALF_LIFE) -> None:
        """`first` is the width of the first bucket, below which values are alike."""
        self._first, self._half_life = first, half_life
        self._weights: dict[int, float] = {}
        self._reference = 0.0

    def add(self, value: float, weight: float, at: float) -> None:
        """A negative weight takes away what was added with the same value and `at`."""
        bucket = self._bucket(value)
        left = self._weights.get(bucket, 0.0) + weight * self._factor(at)
        self._weights[bucket] = max(left, 0.0)

    def percentile(self, share: float) -> float | None:
        """The upper end of the bucket in which that share of the weight is reached: at most 5 %
        (or the first bucket's width) over the exact one, never under it. None of nothing."""
        total = math.fsum(self._weights.values())
        if total <= 0:
            return None
        reached = 0.0
        for bucket in sorted(self._weights):
            reached += self._weights[bucket]
            if reached >= share * total * (1 - 1e-12):
                return self._start(bucket + 1)
        return self._start(max(self._weights) + 1)

    def weights(self, at: float) -> dict[int, float]:
        """By bucket, as they weigh at that time; what weighs next to nothing is left out."""
        factor = self._factor(at)
        return {b: w / factor for b, w in self._weights.items() if w / factor > 1e-6}

    def restore(self, weights: dict[int, float], at: float) -> None:
        self._weights, self._reference = dict(weights), at

    def _factor(self, at: float) -> float:
        if at - self._reference > _MOST_HALF_LIVES * self._half_life:
            down = math.exp2(min((at - self._reference) / self._half_life, 1000.0))
            self._weights = {b: w / down for b, w in self._weights.items() if w / down > 1e-6}
            self._reference = at
        return math.exp2((at - self._reference) / self._half_life)

    def _bucket(self, value: float) -> int:
        widths = max(value, 0.0) / self._first
        return int(math.log(widths * (RATIO - 1) + 1, RATIO))

    def _start(self, bucket: int) -> float:
        return self._first * (math.pow(RATIO, bucket) - 1) / (RATIO - 1)


class Saved(msgspec.Struct, frozen=True):
    """A prediction between runs. `wall` is when it was saved, in seconds since the epoch."""

    wall: float
    samples: int
    cpu: dict[int, float]
    memory: dict[int, float]
    peak: float
    peak_age: float


class Idle(NamedTuple):
    """None where too little is known."""

    cpu_cores: float | None
    memory_bytes: float | None


class Prediction:
    """`at` are the clock's monotonic seconds, throughout."""

    def __init__(self) -> None:
        self._cpu = DecayingHistogram(FIRST_CPU)
        self._memory = DecayingHistogram(FIRST_MEMORY)
        self._samples = 0
        self._peak: tuple[float, float] | None = None  # of this interval: bytes, and since when

    def add_cpu(self, cores: float, seconds: float, at: float) -> None:
        """`cores` that were busy over the last `seconds`, by online work."""
        self._cpu.add(cores, min(max(seconds, 0.0), LONGEST_SAMPLE), at)
        self._samples += 1

    def add_memory(self, used: float, at: float) -> None:
        """Bytes that online work uses now. Counts as soon as it is a peak, and until the interval
        is over once only, as the largest."""
        if self._peak is not None and at - self._peak[1] < PEAK_INTERVAL:
            peak, since = self._peak
            if used <= peak:
                return
            self._memory.add(peak, -1.0, since)
        else:
            since = at
        self._memory.add(used, 1.0, since)
        self._peak = used, since

    def idle(self, cores: float | None, memory: float | None) -> Idle:
        """Of a node with so much in all (None: not known); never under 0."""
        if self._samples < ENOUGH_SAMPLES:
            return Idle(None, None)
        return Idle(
            _left(cores, self._cpu.percentile(CPU_PERCENTILE), CPU_RESERVE),
            _left(memory, self._memory.percentile(MEMORY_PERCENTILE), MEMORY_RESERVE),
        )

    def save(self, at: float, wall: float) -> bytes:
        peak, since = self._peak or (0.0, at - PEAK_INTERVAL)
        return msgspec.json.encode(
            Saved(
                wall,
                self._samples,
                self._cpu.weights(at),
                self._memory.weights(at),
                peak,
                at - since,
            )
        )

    def load(self, data: bytes, at: float, wall: float) -> None:
        """As old as the wall clock says; where that was set back, as if saved just now. Raises
        ValueError where the data are not what `save` wrote."""
        try:
            saved = msgspec.json.decode(data, type=Saved)
        except RecursionError as error:
            raise ValueError(str(error)) from error
        numbers = (saved.wall, saved.peak, saved.peak_age, *saved.cpu.values(),
                   *saved.memory.values())  # fmt: skip
        buckets = (*saved.cpu, *saved.memory)
        if not (
            all(0 <= number <= _LARGEST for number in numbers)
            and all(0 <= bucket <= _LAST_BUCKET for bucket in buckets)
        ):
            raise ValueError("a number in it makes no sense")
        age = max(wall - saved.wall, 0.0)
        self._cpu.restore(saved.cpu, at - age)
        self._memory.restore(saved.memory, at - age)
        self._samples = saved.samples
        self._peak = saved.peak, at - age - saved.peak_age


def _left(total: float | None, used: float | None, reserve: Reserve) -> float | None:
    if total is None or used is None:
        return None
    return max(total - used * (1 + MARGIN) - reserve.of(total), 0.0)
