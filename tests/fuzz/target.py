"""What a target is: cases (a parser, real inputs to begin with, a way to spoil them); the judge.

The rule: a parser reads its input or raises what it may (`refusals`; the family of KernmeshError,
whose every line is one line). Anything else is a crash, and so is to take too long or too much.
"""

import resource
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType, TracebackType
from typing import NamedTuple, NoReturn

from exporter.errors import KernmeshError
from tests.fuzz.mutate import Mutate, spoil_bytes

LONGEST_SECONDS = 10
"""For one input. The slowest parser takes 0.1 s of an object of 1 MB."""
MOST_MIB = 700
"""More memory at once than all else that the process has had, for one input."""

ROOT = Path(__file__).resolve().parents[2]
_OWN = (str(ROOT / "exporter"), str(ROOT / "pingmesh"))


class Unclear(AssertionError):
    """Refused, but not in one line."""


class Hang(BaseException):
    """No Exception: a parser that catches those hangs all the same."""


class Bloat(AssertionError):
    """It took a multiple of what it was given."""


class Case(NamedTuple):
    """One parser. `seeds` are real inputs; `spoil` makes another of one. `tested` names the module
    where hypothesis holds the same parser already, with inputs made for it; elsewhere `make test`
    tries so many `examples`."""

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    spoil: Mutate = spoil_bytes
    refusals: tuple[type[Exception], ...] = (KernmeshError,)
    tested: str = ""
    examples: int = 60


class Target(NamedTuple):
    """Cases that are run together: an input's first byte says which."""

    name: str
    what: str
    cases: Sequence[Case]
    most_bytes: int = 1 << 14

    def case(self, data: bytes) -> Case | None:
        return self.cases[data[0] % len(self.cases)] if data else None

    def seeds(self) -> Iterator[bytes]:
        for number, case in enumerate(self.cases):
            for seed in case.seeds():
                yield bytes([number]) + seed

    def spoil(self, data: bytes, chance: Random) -> bytes:
        """Another input of the same case."""
        case = self.case(data)
        return data if case is None else data[:1] + case.spoil(data[1:], chance)

    def run(self, data: bytes) -> None:
        """Raises what is a crash, and nothing else."""
        case = self.case(data)
        if case is not None:
            judge(case, data[1:])


def judge(case: Case, data: bytes, most_mib: int = MOST_MIB) -> None:
    """Raises what is a crash, and nothing else."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        case.run(data)
    except case.refusals as error:
        _check_lines(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown > most_mib << 10:
        raise Bloat(f"{grown >> 10} MiB for {len(data)} bytes")


def _check_lines(error: Exception) -> None:
    for line in error.lines if isinstance(error, KernmeshError) else ():
        if not line or not line.isprintable():
            raise Unclear(f"{type(error).__name__}: {line!r}") from error


@contextmanager
def watched(seconds: int = LONGEST_SECONDS) -> Iterator[None]:
    """Raises Hang in the main thread where it takes longer. libFuzzer has a clock of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_: int, frame: FrameType | None) -> NoReturn:
        raise Hang(f"over {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def place(error: BaseException) -> str:
    """Where it was raised, as "KeyError at exporter/host/psi.py:41 parse": crashes of one place are
    one crash. The last frame that is ours and no test's, if there is one."""
    found, traceback = "?", error.__traceback__
    if isinstance(error, Unclear) and error.__cause__ is not None:
        traceback = error.__cause__.__traceback__
    for frame in _frames(traceback):
        code = frame.tb_frame.f_code
        if code.co_filename.startswith(_OWN):
            path = Path(code.co_filename).relative_to(ROOT)
            found = f"{path}:{frame.tb_lineno} {code.co_name}"
    if isinstance(error, BaseExceptionGroup):
        return place(error.exceptions[0])
    return f"{type(error).__name__} at {found}"


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
