"""One program's run in one guest, as it travels over the serial line: a line of JSON each, and
a last line DONE."""

from collections.abc import Mapping
from typing import NamedTuple

DONE = "done"


class Row(NamedTuple):
    """`hooks` has each hook's ELF sections that were taken ("" for none), `functions` the ways
    by their BPF functions; `forced` names the way of a run that allowed no other. `events` is what
    the program counted while its load ran. `missing` is
    what user space made and the program did not count; `reason` why it is off, or what it lacks;
    `refused` the ways that the kernel did not take, and why; `backend` who loaded it."""

    program: str
    forced: str = ""
    hooks: Mapping[str, str] = {}
    functions: tuple[tuple[str, ...], ...] = ()
    events: float = 0
    missing: tuple[str, ...] = ()
    reason: str = ""
    refused: tuple[str, ...] = ()
    log: str = ""
    seconds: float = 0
    backend: str = "core"

    @property
    def counts(self) -> bool:
        """Whether it saw everything that user space knows to have happened."""
        return bool(self.events) and not self.missing
