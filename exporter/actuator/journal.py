"""What is changed, in a file that is written and synced before the change it tells of.

The rule: no journal, no change. The file is replaced as a whole, so a crash leaves the old or the
new one. Whoever holds the lock beside it may change cgroups, nobody else. Values only: knows
neither what they mean nor how they are put back.
"""

import fcntl
import os
import struct
from pathlib import Path

import msgspec
from msgspec import Struct

from exporter.wholefile import replace_whole

LOCK = "actuator.lock"
JOURNAL = "actuator.journal"
_VERSION = 1
_MOST_BYTES = 64 << 20
# struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid (fcntl(2))
_FLOCK = struct.Struct("hhqqi4x")


class Record(Struct, frozen=True):
    """One value. `key` is a device of a file with a line per device, "" for the whole file. It is
    ours where it is `after`, or `previous` (what we had there before: a crash may have come
    between the journal and the write). A `coupled` one the kernel or we changed along with the
    first that is not."""

    file: str
    before: str
    after: str
    key: str = ""
    previous: str | None = None
    coupled: bool = False


class Entry(Struct, frozen=True):
    """One cgroup and one knob. `wants` are the limits by run; `inode` is of its folder."""

    controller: str
    path: str
    inode: int
    uid: str
    knob: str
    wants: dict[str, dict[str, float]]
    records: tuple[Record, ...]

    @property
    def place(self) -> tuple[str, str, str]:
        return self.controller, self.path, self.knob


class Moved(Struct, frozen=True):
    """A process in a cgroup of ours, and where it was by hierarchy (the mount's folder)."""

    job: str
    pid: int
    began: int
    before: dict[str, str]


class Content(Struct, frozen=True):
    version: int = _VERSION
    boot: str = ""
    entries: tuple[Entry, ...] = ()
    moved: tuple[Moved, ...] = ()


class JournalError(Exception):
    """Its text says in one line why nothing can be written down."""


class Held(JournalError):
    """Another process has the lock; `pid` is its number, 0 where that cannot be told."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        super().__init__(f"the journal is another process' ({pid}): is another agent running?")


class Journal:
    """Open it, read `content`, `save` before every change."""

    def __init__(self, state_dir: str | None, boot: str) -> None:
        self._folder = None if state_dir is None else Path(state_dir)
        self._boot = boot
        self._lock = -1
        self.content = Content(boot=boot)
        self.notes: list[str] = []

    @property
    def is_open(self) -> bool:
        return self._lock >= 0

    def open(self) -> None:
        """Takes the lock and reads what is there. Raises JournalError; may be tried again."""
        if self.is_open:
            return
        if self._folder is None:
            raise JournalError("usage.state_dir is null: without a journal nothing is changed")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(self._folder / LOCK, flags, 0o600)
        except OSError as error:
            raise JournalError(f"{self._folder}: {error.strerror}: no journal, no change") from None
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            owner = _FLOCK.unpack(fcntl.fcntl(lock, fcntl.F_GETLK, asked))[-1]
            os.close(lock)
            raise Held(max(owner, 0)) from None
        self._lock = lock
        try:
            self.content = self._read()
        except (OSError, JournalError) as error:
            self.close()
            if isinstance(error, JournalError):
                raise
            raise JournalError(f"{self._folder / JOURNAL}: {error.strerror}") from None

    def save(self, content: Content) -> None:
        """On disk when it returns. Raises JournalError; what was there is there still then."""
        if not self.is_open or self._folder is None:
            raise JournalError("the journal is not open")
        path = self._folder / JOURNAL
        try:
            if not content.entries and not content.moved:  # needs no room on a full disk
                path.unlink(missing_ok=True)
            else:
                replace_whole(path, msgspec.json.encode(content), mode=0o600, synced=True)
            self._sync_folder()
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}: no journal, no change") from None
        self.content = content

    def _sync_folder(self) -> None:
        assert self._folder is not None
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self) -> Content:
        """Raises JournalError, and OSError where what is there is no file, or stays there."""
        assert self._folder is not None
        path, nothing = self._folder / JOURNAL, Content(boot=self._boot)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return nothing
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if about.st_uid != os.geteuid() or about.st_mode & 0o022:
                raise JournalError(f"{path}: not trusted: others own it or can write it")
            data = file.read(_MOST_BYTES)
        try:
            found = msgspec.json.decode(data, type=Content)
            if found.version != _VERSION:
                raise ValueError(f"version {found.version}, want {_VERSION}")
        except (ValueError, RecursionError) as error:
            aside = path.with_suffix(".bad")
            path.replace(aside)
            self.notes.append(
                f"{path}: not a journal ({error}), set aside as {aside.name}: what it told of is "
                "not put back"
            )
            return nothing
        if found.boot != self._boot or not self._boot:
            self.notes.append(f"{path}: of another boot: nothing of it is left to put back")
            return nothing
        return found

    def close(self) -> None:
        """Lets another process have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def boot_id(proc: str) -> str:
    try:
        return (Path(proc) / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
