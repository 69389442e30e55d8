"""How fast programs count and what they cost, between two looks at them.

The rule: a rate is over at least a second, and what is not known is None. Events are those of the
last two reads of the maps, so nothing is read for this; time is the kernel's own account of a BPF
function (kernel/bpf/syscall.c bpf_prog_get_stats), which it keeps while the sysctl
kernel.bpf_stats_enabled is 1.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from exporter.clock import Clock
from exporter.ebpf.collector import ProgramCollector
from exporter.errors import BpfError

LEAST_SECONDS = 1.0


class Pace(NamedTuple):
    """`events` per second, `cost` in seconds of CPU per second."""

    events: float | None = None
    cost: float | None = None


class _Track:
    """A number over time: its rate between the last two looks that lie apart."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self.rate: float | None = None

    def note(self, at: float, value: float) -> None:
        if self._last is not None:
            before, was = self._last
            if at - before < LEAST_SECONDS:
                return
            self.rate = (value - was) / (at - before) if value >= was else None
        self._last = at, value


class Paces:
    """`look` now and then, from one thread at a time; any thread may read `of`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tracks: dict[ProgramCollector, tuple[_Track, _Track]] = {}
        self._paces: Mapping[str, Pace] = {}

    def of(self, program: str) -> Pace:
        return self._paces.get(program, Pace())

    def look(self, running: Iterable[ProgramCollector]) -> None:
        """Asks the kernel for what its functions' time is; no map is read."""
        tracks = {each: self._tracks.get(each) or (_Track(), _Track()) for each in running}
        paces: dict[str, Pace] = {}
        for program, (events, cost) in tracks.items():
            counted, read_at = program.counted, program.read_at
            if counted is not None and read_at is not None:
                events.note(read_at, counted)
            spent = _seconds(program)
            if spent is not None:
                cost.note(self._clock.monotonic(), spent)
            # Time that does not grow is mostly time that is not kept any more.
            paces[program.name] = Pace(events.rate, cost.rate or None)
        self._tracks, self._paces = tracks, paces


def _seconds(program: ProgramCollector) -> float | None:
    try:
        times = [each.run_time_ns for each in program.loaded.functions()]
    except BpfError:  # closed, or the kernel does not say
        return None
    known = [time for time in times if time is not None]
    return sum(known) / 1e9 if known else None
