"""Where the stores are kept between runs: one file per tier in usage.state_dir.

Whatever keeps that from working (no right, read-only, full, another agent in it) costs the
memory of the past and nothing else: the stores are in memory then, which is said once.
"""

import fcntl
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from exporter.clock import Clock
from exporter.hostfs import HostFs
from exporter.usage import backing, store
from exporter.usage.series import TierName
from exporter.usage.store import Now, Store

log = logging.getLogger(__name__)


class TierPlan(NamedTuple):
    """A row every `interval` seconds, `span` seconds of them."""

    interval: float
    span: float


class StateDir:
    """`folder` is None where nothing is kept; `problem` then says why, "" if it was not wanted."""

    def __init__(self, path: str | None) -> None:
        self.folder: Path | None = None
        self.problem = ""
        self._descriptor = -1
        if path is None:
            return
        folder = Path(path)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.fail("another agent is using it")
        except OSError as error:
            self.fail(error)
        else:
            self.folder = folder

    def fail(self, reason: OSError | str) -> None:
        """From now on nothing new is kept. Said the first time only."""
        text = reason.strerror if isinstance(reason, OSError) else reason
        if not self.problem:
            self.problem = f"usage is kept in memory only, a restart begins anew: {text}"
            log.warning("usage: state_dir cannot be used; %s", self.problem)
        self.folder = None

    def open_store(self, tier: TierName, plan: TierPlan, now: Now) -> Store:
        if self.folder is not None:
            try:
                found, note = store.open_file(self.folder / f"{tier}.usage", *plan, now)
            except OSError as error:
                self.fail(error)
            else:
                if note:
                    log.warning("usage: %s.usage: %s", tier, note)
                return found
        return store.in_memory(*plan, now)

    def read(self, name: str) -> bytes | None:
        """A small file's content; None where there is none, or it cannot be read."""
        if self.folder is None:
            return None
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("usage: %s: %s", name, error.strerror)
            return None

    def write(self, name: str, content: bytes) -> None:
        """The whole of a small file, in place at once."""
        if self.folder is None:
            return
        new = self.folder / f"{name}.new"
        try:
            new.unlink(missing_ok=True)  # what was left there may be anyone's to read
            new.touch(backing.MODE, exist_ok=False)
            new.write_bytes(content)
            new.replace(self.folder / name)
        except OSError as error:
            self.fail(error)

    def set_aside(self, name: str, reason: str) -> None:
        if self.folder is None:
            return
        try:
            bad = backing.set_aside(self.folder / name)
        except OSError as error:
            self.fail(error)
        else:
            log.warning("usage: %s: not trusted (%s); set aside as %s", name, reason, bad.name)

    def close(self) -> None:
        """Lets the next agent in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def now_of(clock: Clock, host: HostFs) -> Now:
    """An unknown boot ("") is taken for another one than any."""
    try:
        boot = (host.proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return Now(clock.monotonic(), clock.wall(), boot)


def open_stores(
    state: StateDir, plans: Mapping[TierName, TierPlan], now: Now
) -> dict[TierName, Store]:
    return {tier: state.open_store(tier, plan, now) for tier, plan in plans.items()}
