"""`kernmesh undo`: what the journal tells of is put back, by whoever may.

The rule: never against a running agent. Where one has the journal it is asked (SIGUSR1 to its
actuator) and does it itself; else this process takes the journal, as an actuator would.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from exporter.actuator.cgroups import Roots, hierarchies
from exporter.actuator.force import Force
from exporter.actuator.journal import JOURNAL, Held, Journal, JournalError, boot_id
from exporter.actuator.moves import Moves
from exporter.errors import KernmeshError
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs

_PATIENCE_SECONDS = 20.0
_LOOK_SECONDS = 0.05


def undo(state_dir: str | None, host: HostFs, say: Callable[[str], None]) -> bool:
    """Whether nothing is left in force. Raises KernmeshError where that cannot be done at all."""
    if state_dir is None or not Path(state_dir).is_dir():
        say(f"nothing is in force: there is no state directory ({state_dir or 'null'})")
        return True
    journal = Journal(state_dir, boot_id(str(host.proc)))
    try:
        journal.open()
    except Held as held:
        return _ask(held.pid, Path(state_dir) / JOURNAL, say)
    except JournalError as error:
        raise KernmeshError(f"undo: {error}") from None
    try:
        return _do(journal, host, say)
    finally:
        journal.close()


def _do(journal: Journal, host: HostFs, say: Callable[[str], None]) -> bool:
    mounts = cgroup_mounts(host)
    moves = Moves(journal, mounts, str(host.proc), ())
    if not journal.content.entries and not journal.content.moved:
        for note in (*journal.notes, "nothing is in force"):
            say(note)
        return True
    moved = sum(moves.held().values())
    for note in (*Force(journal, hierarchies(mounts), Roots((), False)).take_over(), *moves.back()):
        say(note)
    if moved:
        say(f"{moved} processes moved back to where they were")
    left = len(journal.content.entries) + len(journal.content.moved)
    if left:
        say(f"{left} could not be put back yet; the journal keeps them: try again")
    return not left


def _ask(pid: int, journal: Path, say: Callable[[str], None]) -> bool:
    if not journal.exists():
        say("nothing is in force (an agent is running)")
        return True
    if pid <= 1:
        raise KernmeshError(
            "undo: a running agent has the journal, and cannot be reached from here"
            " (another PID namespace): stop it, which puts all back"
        )
    with suppress(ProcessLookupError):  # it has just ended, which puts all back as well
        os.kill(pid, signal.SIGUSR1)
    until = time.monotonic() + _PATIENCE_SECONDS
    while journal.exists() and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    if journal.exists():
        say(f"the running agent (actuator {pid}) has not put all back: see its log")
        return False
    say(
        f"put back by the running agent (actuator {pid}), which acts again when a rule fires: "
        "set interference.dry_run: true, or stop it, to keep it from that"
    )
    return True
