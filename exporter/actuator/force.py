"""What is in force, and how it comes and goes: written down, then written, then put back.

The rule: a value is put back only where it is still the one that we wrote; whatever somebody else
set meanwhile is left alone and said. Of what several runs want of one cgroup the strictest holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from msgspec.structs import replace

from exporter.actuator import knobs
from exporter.actuator.cgroups import Folder, Hierarchy, NotAllowed, Roots, below, opened
from exporter.actuator.journal import Content, Entry, Journal, JournalError, Record
from exporter.actuator.protocol import Answer, Change, Held, Knob, Look, Place, Set, Target
from exporter.actuator.restore import GONE, Key, Same, Write, file_of, reason, restore, shown
from exporter.host.kubepods import read_path

_MOST_CGROUPS = 2000
_MOST_RUNS = 256


class _Step(NamedTuple):
    """One cgroup of a request: what is there now by record, and what is to be."""

    folder: Folder
    old: Entry | None
    new: Entry
    now: tuple[str, ...]

    @property
    def changes(self) -> list[tuple[Record, str]]:
        return [
            (record, now)
            for record, now in zip(self.new.records, self.now, strict=True)
            if record.after not in (now, knobs.ANYTHING)
        ]


class Force:
    """One per journal. Not for several threads."""

    def __init__(
        self,
        journal: Journal,
        hierarchies: Mapping[str, Hierarchy],
        roots: Roots,
        write: Write = Folder.write,
    ) -> None:
        self._journal, self._hierarchies, self._roots = journal, hierarchies, roots
        self._write = write
        self._entries: dict[Key, Entry] = {}
        self._given_up: dict[Key, set[str]] = {}
        self._late: dict[Key, Entry] = {}
        """Entries as they are in force, of which less is wanted by now."""

    def take_over(self) -> list[str]:
        """Puts back what the journal has from before; lines about what was found. Call it once the
        journal is open."""
        self._entries = {entry.place: entry for entry in self._journal.content.entries}
        if not self._entries:
            return []
        changes, notes = self._restore(self._entries.values())
        self._keep(notes)
        return [f"put back after an unclean end: {shown(changes)}", *notes]

    # --- asking

    def set(self, request: Set) -> Answer:
        """Raises NotAllowed, Unfit, JournalError or OSError, and nothing is changed then."""
        if not request.dry and not self._journal.is_open:
            raise JournalError("the journal is not open")
        notes: list[str] = []
        with ExitStack() as stack:
            steps = list(self._steps(request, stack, notes))
            qos = [step for step in steps if step.new.knob == "qos"]
            steps = [step for step in steps if step.new.knob != "qos"]
            changes = [_change(s, r, now) for s in (*qos, *steps) for r, now in s.changes]
            if not request.dry:
                for step in qos:  # a placement, never taken back: nothing to write down
                    self._put(step, notes)
                self._apply(steps, notes)
        return Answer(request.id, changes=tuple(changes), notes=tuple(notes))

    def look(self, request: Look) -> Answer:
        """Raises NotAllowed or OSError."""
        hierarchy = self._hierarchy(request.knob)
        places = []
        for path in self._paths(hierarchy, request.target):
            with opened(hierarchy, path) as folder:
                self._verify(folder, request.target)
                limit: float | None = None
                now: float | None = None
                if request.knob == "cpu_quota":
                    limit = knobs.cores_of(folder)
                elif request.knob == "memory_high":
                    limit, now = knobs.memory_of(folder)
                places.append(Place(folder.path, folder.inode, limit, now))
        return Answer(request.id, places=tuple(places))

    def undo(self, run: str, knob: Knob | None = None, path: str | None = None) -> Answer:
        """What others want meanwhile stays. Never raises: what cannot be put back or loosened yet
        is said, and tried again."""
        for place in [place for place, runs in self._given_up.items() if run in runs]:
            self._given_up[place].discard(run)
            if not self._given_up[place]:
                del self._given_up[place]
        wanted = [
            entry
            for entry in self._entries.values()
            if run in entry.wants
            and knob in (None, entry.knob)
            and (path is None or f"{entry.path}/".startswith(f"{path.strip('/')}/"))
        ]
        for entry in wanted:
            wants = {name: want for name, want in entry.wants.items() if name != run}
            self._late.setdefault(entry.place, entry)
            self._entries[entry.place] = replace(entry, wants=wants)
        notes: list[str] = []
        changes = self._loosen([entry.place for entry in wanted], notes)
        return Answer(0, changes=tuple(changes), notes=tuple(notes))

    def undo_all(self) -> Answer:
        """Never raises: what could not be put back is said, and stays in the journal."""
        self._given_up.clear()
        if not self._entries:
            return Answer(0)
        changes, notes = self._restore(self._entries.values())
        self._keep(notes)
        return Answer(0, changes=tuple(changes), notes=tuple(notes))

    def try_again(self) -> list[str]:
        """What is wanted no more, or not so strictly, and could not be put back then."""
        left = [place for place, each in self._entries.items() if not each.wants]
        changes = self._loosen([*left, *(each for each in self._late if each not in left)], [])
        return [f"put back at last: {shown(changes)}"] if changes else []

    def held(self) -> tuple[Held, ...]:
        return tuple(
            Held(
                f"{entry.controller}:/{entry.path}",
                entry.knob,
                tuple(entry.wants),
                tuple(
                    Change(file_of(record), record.before, record.after)
                    for record in entry.records
                    if record.after not in (record.before, knobs.ANYTHING)
                ),
            )
            for entry in self._entries.values()
        )

    # --- choosing cgroups

    def _hierarchy(self, knob: Knob) -> Hierarchy:
        controller = knobs.CONTROLLER[knob]
        found = self._hierarchies.get(controller)
        if found is None:
            raise NotAllowed(f"no cgroup hierarchy with the controller {controller} here")
        return found

    def _paths(self, hierarchy: Hierarchy, target: Target | None) -> list[str]:
        if target is not None:
            self._roots.check(target.path, target.uid)
            return [target.path.strip("/")]
        paths = self._roots.here(hierarchy)
        if not paths:
            raise NotAllowed(f"{hierarchy.name}: none of the offline cgroups is there")
        return paths

    def _verify(self, folder: Folder, target: Target | None) -> None:
        self._roots.check(folder.path, target.uid if target else "")
        if target is not None and target.inode not in (None, folder.inode):
            raise NotAllowed(
                f"cgroup {folder.path!r}: is another one than was meant, got inode "
                f"{folder.inode}, want {target.inode}"
            )

    def _steps(self, request: Set, stack: ExitStack, notes: list[str]) -> Iterable[_Step]:
        hierarchy = self._hierarchy(request.knob)
        for path in self._paths(hierarchy, request.target):
            folder = stack.enter_context(opened(hierarchy, path))
            self._verify(folder, request.target)
            level = folder.has(knobs.QOS_LEVEL) if request.knob == "preempt" else False
            if level:
                yield self._qos(folder)
                continue
            found = self._one(folder, request, notes)
            if found is not None:
                yield found
            yield from self._below(folder, request, stack, notes)

    def _below(
        self, folder: Folder, request: Set, stack: ExitStack, notes: list[str]
    ) -> Iterable[_Step]:
        """v1: what is below must be limited for itself (io), or lies in the way (cpu_quota)."""
        if folder.hierarchy.version == 2 or request.knob not in ("io", "cpu_quota"):
            return
        for path in below(folder.hierarchy, folder.path, _MOST_CGROUPS):
            try:
                inner = stack.enter_context(opened(folder.hierarchy, path))
                if request.knob == "cpu_quota":
                    known = ("cpu", path, "cpu_quota") in self._entries
                    cores = knobs.cores_of(inner)
                    if not known and (cores is None or cores <= request.limits["cores"]):
                        continue
                found = self._one(inner, request, notes)
            except (NotAllowed, knobs.Unfit):
                continue  # gone meanwhile, its files first
            except OSError as error:
                if error.errno in GONE:
                    continue
                raise
            if found is not None:
                yield found

    def _qos(self, folder: Folder) -> _Step:
        now = knobs.current(folder, knobs.QOS_LEVEL)
        record = Record(knobs.QOS_LEVEL, now, "-1")
        entry = Entry("cpu", folder.path, folder.inode, "", "qos", {}, (record,))
        return _Step(folder, None, entry, (now,))

    def _one(self, folder: Folder, request: Set, notes: list[str]) -> _Step | None:
        place = (folder.hierarchy.controller, folder.path, request.knob)
        old = self._entries.get(place)
        if old is not None and old.inode != folder.inode:
            notes.append(f"{folder.path}: was removed and made anew since")
            old = None  # the new entry takes its place
        if request.run in self._given_up.get(place, ()):
            notes.append(f"{folder.path}: left alone, as somebody else sets it too")
            return None
        if old is not None and (foreign := _foreign(folder, old)):
            notes.append(f"{foreign}: left alone")
            if not request.dry:
                self._given_up.setdefault(place, set()).update(old.wants, [request.run])
                del self._entries[place]
                self._keep(notes)
            return None
        wants = {**(old.wants if old else {}), request.run: dict(request.limits)}
        if len(wants) > _MOST_RUNS:
            raise NotAllowed(f"{folder.path}: {_MOST_RUNS} runs want something of it already")
        new = Entry(
            place[0], folder.path, folder.inode, read_path(folder.path).uid, place[2], wants, ()
        )
        step = self._step(folder, old, new)
        if old is None and not step.changes:
            return None
        return step

    def _step(self, folder: Folder, old: Entry | None, new: Entry) -> _Step:
        before = {(r.file, r.key): r.before for r in old.records} if old else {}
        merged = knobs.strictest(new.wants.values())
        planned = knobs.plan(folder, new.knob, merged, before)  # type: ignore[arg-type]
        now = tuple(knobs.value(folder, record) for record in planned)
        ours = {(r.file, r.key) for r in old.records} if old else set()
        records = [
            replace(record, previous=value) if (record.file, record.key) in ours else record
            for record, value in zip(planned, now, strict=True)
        ]
        if old is not None:  # a device that the cgroup is no longer known to use is still limited
            kept = [
                r for r in old.records if (r.file, r.key) not in {(p.file, p.key) for p in planned}
            ]
            records += kept
            now += tuple(record.after for record in kept)
        return _Step(folder, old, replace(new, records=tuple(records)), now)

    # --- changing

    def _loosen(self, places: Sequence[Key], notes: list[str]) -> list[Change]:
        """To what is wanted of each now."""
        if not places:
            return []
        over = [self._entries[place] for place in places if not self._entries[place].wants]
        changes: list[Change] = []
        with ExitStack() as stack:
            steps = []
            for place in places:
                entry = self._entries[place]
                if not entry.wants:
                    continue
                try:
                    folder = stack.enter_context(
                        Same(self._hierarchies.get(entry.controller), entry)
                    )
                    steps.append(self._step(folder, self._late[place], entry))
                except (OSError, NotAllowed, knobs.Unfit) as error:
                    notes.append(f"{entry.path}: {reason(error)}")
                    over.append(entry)
            try:
                self._apply(steps, notes)
            except (OSError, JournalError) as error:  # stricter than is wanted, for a while
                notes.append(str(error))
                for step in steps:
                    self._entries[step.new.place] = replace(
                        self._late[step.new.place], wants=step.new.wants
                    )
            else:
                changes += [_change(step, r, now) for step in steps for r, now in step.changes]
        restored, more = self._restore(over)
        notes += more
        self._keep(notes)
        return changes + restored

    def _apply(self, steps: Sequence[_Step], notes: list[str]) -> None:
        """All of them, or none: what was written of a refused request is taken back."""
        if not steps:
            return
        entries = dict(self._entries)
        entries.update({step.new.place: step.new for step in steps})
        self._save(entries)
        self._entries = entries
        done: list[_Step] = []
        try:
            for step in _in_order(steps):
                done.append(step)
                if not self._put(step, notes):
                    self._entries.pop(step.new.place)
        except OSError as error:
            for step in reversed(done):
                self._take_back(step, notes)
            for step in steps:
                self._entries.pop(step.new.place, None)
                if step.old is not None:
                    self._entries[step.old.place] = step.old
            self._keep(notes)
            raise OSError(error.errno, f"{error.strerror}{_after(notes)}", error.filename) from None
        for step in steps:  # from now on only what is there is ours
            if step.new.place in self._entries:
                records = tuple(replace(record, previous=None) for record in step.new.records)
                self._entries[step.new.place] = replace(step.new, records=records)
            self._late.pop(step.new.place, None)

    def _put(self, step: _Step, notes: list[str]) -> bool:
        """False where the cgroup is gone. Raises OSError with the file in it."""
        for record, _ in step.changes:
            try:
                self._write(step.folder, record.file, knobs.text_of(record, record.after))
            except OSError as error:
                if error.errno in GONE:
                    notes.append(f"{step.folder.path}: was removed meanwhile")
                    return False
                shown = step.folder.shown(record.file)
                text = f"{shown}: {knobs.text_of(record, record.after)!r} refused, {reason(error)}"
                raise OSError(error.errno, text) from None
        return True

    def _take_back(self, step: _Step, notes: list[str]) -> None:
        for record, now in reversed(step.changes):
            try:
                if knobs.value(step.folder, record) != now:
                    self._write(step.folder, record.file, knobs.text_of(record, now))
            except OSError as error:
                if error.errno not in GONE:
                    notes.append(f"{step.folder.shown(record.file)}: {reason(error)}")

    def _restore(self, entries: Iterable[Entry]) -> tuple[list[Change], list[str]]:
        """What is done with leaves self._entries."""
        wanted = list(entries)
        restored = restore(wanted, self._hierarchies, self._write)
        for entry in wanted:
            self._late.pop(entry.place, None)
            if entry.place in restored.left:
                self._entries[entry.place] = replace(entry, wants={})
            else:
                self._entries.pop(entry.place, None)
        return restored.changes, restored.notes

    def _save(self, entries: Mapping[Key, Entry]) -> None:
        content = self._journal.content
        self._journal.save(
            Content(content.version, content.boot, tuple(entries.values()), content.moved)
        )

    def _keep(self, notes: list[str]) -> None:
        """Where less is in force than is written down, a journal that cannot be written is no harm:
        what is back already is seen to be back."""
        try:
            self._save(self._entries)
        except JournalError as error:
            notes.append(str(error))


def _in_order(steps: Sequence[_Step]) -> list[_Step]:
    """v1 refuses a quota above that of the cgroup around it: less from the inside, more from the
    outside."""

    def depth(step: _Step) -> int:
        return step.folder.path.count("/")

    looser = any(
        step.old is not None and _tightness(step.old) < _tightness(step.new) for step in steps
    )
    return sorted(steps, key=depth, reverse=not looser)


def _tightness(entry: Entry) -> float:
    return min(knobs.strictest(entry.wants.values()).values(), default=0.0)


def _foreign(folder: Folder, entry: Entry) -> str:
    """What somebody else has set since, "" where all is as we left it."""
    for record in entry.records:
        if record.coupled:
            continue
        now = knobs.value(folder, record)
        if now not in (record.after, record.previous):
            where = folder.shown(file_of(record))
            return f"{where}: somebody else set it to {now}, ours was {record.after}"
    return ""


def _change(step: _Step, record: Record, now: str) -> Change:
    return Change(step.folder.shown(file_of(record)), now, record.after)


def _after(notes: Sequence[str]) -> str:
    return f"; {notes[-1]}" if notes else ""
