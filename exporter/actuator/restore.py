"""Values put back as they were, where they are still ours; the other half of force.py.

The rule: whatever somebody else set meanwhile is left alone and said, and a cgroup that is gone, or
is another one by now, is done with.
"""

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from exporter.actuator import knobs
from exporter.actuator.cgroups import Folder, Hierarchy, NotAllowed, opened
from exporter.actuator.journal import Entry, Record
from exporter.actuator.protocol import Change
from exporter.host.kubepods import read_path

GONE = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)
Key = tuple[str, str, str]
Write = Callable[[Folder, str, str], None]
"""folder, file, text; raises OSError. Where tests let the kernel refuse, or the end come."""


class Restored(NamedTuple):
    """`left` are the places of entries that could not be put back yet."""

    changes: list[Change]
    notes: list[str]
    left: set[Key]


def restore(
    entries: Iterable[Entry], hierarchies: Mapping[str, Hierarchy], write: Write
) -> Restored:
    """Those above first, as v1's quotas want it. Never raises."""
    changes: list[Change] = []
    notes: list[str] = []
    left: set[Key] = set()
    for entry in sorted(entries, key=lambda each: each.path.count("/")):
        try:
            with Same(hierarchies.get(entry.controller), entry) as folder:
                done = _restore_one(folder, entry, write, changes, notes)
        except NotAllowed as error:
            done = True
            notes.append(str(error))
        except OSError as error:
            done = error.errno in GONE
            if not done:
                notes.append(f"{entry.path}: not put back yet: {reason(error)}")
        if not done:
            left.add(entry.place)
    return Restored(changes, notes, left)


def _restore_one(
    folder: Folder, entry: Entry, write: Write, changes: list[Change], notes: list[str]
) -> bool:
    done, ours = True, False
    for record in sorted(entry.records, key=lambda each: each.coupled):
        now = knobs.value(folder, record)
        if now == record.before:
            continue
        if record.after == knobs.ANYTHING:
            mine = ours or now == knobs.RESET.get(record.file)
        else:
            mine = now in (record.after, record.previous)
        if not mine:
            notes.append(
                f"{folder.shown(file_of(record))}: left alone, somebody else set it to {now} "
                f"(ours was {record.after}, before it was {record.before})"
            )
            continue
        try:
            write(folder, record.file, knobs.text_of(record, record.before))
        except OSError as error:
            if error.errno in GONE:
                return True
            done = False
            notes.append(f"{folder.shown(file_of(record))}: not put back yet: {reason(error)}")
        else:
            ours = ours or not record.coupled
            changes.append(Change(folder.shown(file_of(record)), now, record.before))
    return done


class Same:
    """The cgroup of an entry, if it is still the same one; NotAllowed where it is not."""

    def __init__(self, hierarchy: Hierarchy | None, entry: Entry) -> None:
        self._hierarchy, self._entry = hierarchy, entry
        self._stack = ExitStack()

    def __enter__(self) -> Folder:
        if self._hierarchy is None:
            raise NotAllowed(f"{self._entry.path}: its hierarchy is not mounted any more")
        try:
            folder = self._stack.enter_context(opened(self._hierarchy, self._entry.path))
            if (folder.inode, read_path(folder.path).uid) != (self._entry.inode, self._entry.uid):
                raise NotAllowed(f"{self._entry.path}: is another cgroup by now, left alone")
        except BaseException:
            self._stack.close()
            raise
        return folder

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def file_of(record: Record) -> str:
    return f"{record.file}[{record.key}]" if record.key else record.file


def shown(changes: Sequence[Change]) -> str:
    """In one line."""
    if not changes:
        return "nothing was changed any more"
    some = ", ".join(f"{each.file} {each.before} → {each.after}" for each in changes[:5])
    return some if len(changes) <= 5 else f"{some} and {len(changes) - 5} more"


def reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"{errno.errorcode.get(error.errno, error.errno)} ({os.strerror(error.errno)})"
    return str(error)
