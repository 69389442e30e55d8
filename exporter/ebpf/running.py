"""The programs that this agent runs: chosen by the configuration, swapped by a reload.

The rule: each program stands by itself. One that cannot be read or loaded is off with its reason,
and the others go on. A reload leaves a program alone whose files did not change, so its counters
keep counting; one whose new files are bad goes on with the old ones. How a program is loaded is
given; what its maps mean is the collector's.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.maps import BpfMap, MapInfo, MapRows
from exporter.ebpf.selection import Selection
from exporter.ebpf.spec import Program
from exporter.ebpf.status import FailedProgram, ProgramsCollector
from exporter.errors import BpfError, KernmeshError
from exporter.threads import side_by_side

log = logging.getLogger(__name__)

Start = Callable[[Program], ProgramCollector]
"""Loads and attaches a program; raises BpfError with one line. Whatever else it raises costs that
program only. May be called from several threads."""


class _Entry(NamedTuple):
    fingerprint: Hashable
    collector: ProgramCollector


class Programs:
    """`quiet()` holds scrapes off while a program is closed under them."""

    def __init__(
        self, shown: ProgramsCollector, quiet: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._shown, self._quiet = shown, quiet
        self._changing = threading.Lock()
        self._reading = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._closed = False
        self.closing = False
        """Somebody waits for the end: no more programs are begun."""
        self.running: tuple[ProgramCollector, ...] = ()
        self.failed: tuple[FailedProgram, ...] = ()
        self.outdated: tuple[FailedProgram, ...] = ()
        """Those that run from their old files, and why not from the new ones."""

    def choose(
        self, selection: Selection, start: Start, settings: Hashable = (), at_once: int = 1
    ) -> None:
        """Makes what runs what was selected. Blocks while the kernel verifies; `at_once` is how
        many programs are started side by side.

        `settings` is whatever else makes a program another one; when it changes, all restart."""
        with self._changing:
            if self._closed:
                return
            before, now = self._entries, dict[str, _Entry]()
            off = dict(selection.off)
            wanted: list[tuple[Program, Hashable]] = []
            for program in selection.programs:
                fingerprint = (program, settings, _object_state(program))
                entry = before.get(program.name)
                if entry is None or entry.fingerprint != fingerprint:
                    wanted.append((program, fingerprint))
                else:
                    now[program.name] = entry
            begun = side_by_side(lambda each: self._begun(start, *each), wanted, at_once)
            for (program, _), outcome in zip(wanted, begun, strict=True):
                if isinstance(outcome, _Entry):
                    now[program.name] = outcome
                elif outcome is not None:
                    off[program.name] = outcome
                elif program.name in before:
                    now[program.name] = before[program.name]
            for name in off.keys() & before.keys():
                now[name] = before[name]
            self._show(selection.order, now, off)
            kept = {id(entry.collector) for entry in now.values()}
            self._end(e.collector for e in before.values() if id(e.collector) not in kept)

    def _begun(self, start: Start, program: Program, fingerprint: Hashable) -> _Entry | str | None:
        """What runs, or why it does not; None: not begun, as somebody waits for the end."""
        if self.closing:
            return None
        try:
            return _Entry(fingerprint, start(program))
        except Exception as error:  # a /proc file that cannot be read, say
            return _reason(program, error)

    def keep_up(self) -> None:
        """What programs need now and then, while nothing is collected."""
        with self._changing, self._quiet():
            for collector in self.running:
                collector.keep_up()

    def _show(
        self, order: Sequence[str], now: Mapping[str, _Entry], off: Mapping[str, str]
    ) -> None:
        self._entries = dict(now)
        self.running = tuple(now[name].collector for name in order if name in now)
        refused = [FailedProgram(name, off[name]) for name in order if name in off]
        self.failed = tuple(each for each in refused if each.name not in now)
        self.outdated = tuple(each for each in refused if each.name in now)
        self._shown.swap(self.running, self.failed)

    def map_of(self, program: str, name: str) -> BpfMap | None:
        """One map of a program, for who reads it besides the registry; None while that does not
        run. It is not closed while it is read, and raises BpfError once it is."""
        for collector in self.running:
            if collector.name == program and name in collector.loaded.maps:
                return _Held(self, collector, collector.loaded.maps[name])
        return None

    @contextmanager
    def held(self, collector: ProgramCollector) -> Iterator[None]:
        """Keeps it from being closed. Raises BpfError where it is, or will be at once."""
        with self._reading:
            if collector not in self.running:
                raise BpfError(f"{collector.name}: does not run any more")
            yield

    def close(self) -> None:
        """Detaches and frees all; for good. Waits for the programs that are being loaded."""
        self.closing = True
        with self._changing:
            self._closed = True
            self.running = ()
            self._shown.swap((), ())
            self._end(entry.collector for entry in self._entries.values())
            self._entries = {}

    def _end(self, collectors: Iterable[ProgramCollector]) -> None:
        with self._quiet(), self._reading:
            for collector in collectors:
                collector.loaded.close()


class _Held:
    """A BpfMap."""

    def __init__(self, programs: Programs, collector: ProgramCollector, bpf_map: BpfMap) -> None:
        self._programs, self._collector, self._map = programs, collector, bpf_map

    @property
    def info(self) -> MapInfo:
        return self._map.info

    def read(self) -> MapRows:
        with self._programs.held(self._collector):
            return self._map.read()

    def put(self, key: bytes, value: bytes) -> None:
        with self._programs.held(self._collector):
            self._map.put(key, value)

    def delete(self, keys: Sequence[bytes]) -> None:
        with self._programs.held(self._collector):
            self._map.delete(keys)


def _object_state(program: Program) -> tuple[int, ...]:
    try:
        state = program.object.stat()
    except OSError:  # missing: loading it says so
        return ()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _reason(program: Program, error: Exception) -> str:
    reason = str(error).removeprefix(f"{program.name}: ")
    if not isinstance(error, KernmeshError):
        reason = f"{type(error).__name__}: {reason}"
        log.debug("%s", program.name, exc_info=error)
    log.warning("program off", extra={"program": program.name, "reason": reason})
    if isinstance(error, BpfError) and error.log:
        log.debug("%s: verifier log:\n%s", program.name, error.log)
    return reason
