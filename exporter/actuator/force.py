"""What is in force, and how it comes and goes: written down, then written, then put back.

The rule: a value is put back only where it is still the one that we wrote; whatever somebody else
set meanwhile is left alone and said. Of what several runs want of one cgroup the strictest holds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from msgspec.structs import replace

from exporter.actuator import knobs
from exporter.actuator.cgroups import Folder, Hierarchy, NotAllowed, Roots
from exporter.actuator.choice import Choice
from exporter.actuator.journal import Content, Entry, Journal, JournalError
from exporter.actuator.protocol import Answer, Change, Held, Knob, Look, Place, Set
from exporter.actuator.restore import GONE, Key, Same, Write, file_of, reason, restore, shown
from exporter.actuator.steps import Step, changes_of, foreign, in_order, placement, step_of
from exporter.host.kubepods import read_path

_MOST_RUNS = 256


class Force:
    """One per journal. Not for several threads."""

    def __init__(
        self,
        journal: Journal,
        hierarchies: Mapping[str, Hierarchy],
        roots: Roots,
        write: Write = Folder.write,
    ) -> None:
        self._journal, self._hierarchies, self._write = journal, hierarchies, write
        self._choice = Choice(hierarchies, roots)
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
            changes = changes_of([*qos, *steps])
            if not request.dry:
                for step in qos:  # a placement, never taken back: nothing to write down
                    self._put(step, notes)
                self._apply(steps, notes)
        return Answer(request.id, changes=tuple(changes), notes=tuple(notes))

    def look(self, request: Look) -> Answer:
        """Raises NotAllowed or OSError."""
        places = []
        with ExitStack() as stack:
            for folder in self._choice.folders(request.knob, request.target, stack):
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

    # --- planning

    def _steps(self, request: Set, stack: ExitStack, notes: list[str]) -> Iterator[Step]:
        for folder in self._choice.folders(request.knob, request.target, stack):
            if request.knob == "preempt" and folder.has(knobs.QOS_LEVEL):
                yield placement(folder)
                continue
            found = self._one(folder, request, notes)
            if found is not None:
                yield found
            # v1: what is below must be limited for itself (io), or lies in the way (cpu_quota)
            if folder.hierarchy.version == 1 and request.knob in ("io", "cpu_quota"):
                yield from self._below(folder, request, stack, notes)

    def _below(
        self, folder: Folder, request: Set, stack: ExitStack, notes: list[str]
    ) -> Iterator[Step]:
        for inner in self._choice.below(folder, stack):
            try:
                if request.knob == "cpu_quota":
                    known = ("cpu", inner.path, "cpu_quota") in self._entries
                    cores = knobs.cores_of(inner)
                    if not known and (cores is None or cores <= request.limits["cores"]):
                        continue
                found = self._one(inner, request, notes)
            except knobs.Unfit:
                continue  # gone meanwhile, its files first
            except OSError as error:
                if error.errno in GONE:
                    continue
                raise
            if found is not None:
                yield found

    def _one(self, folder: Folder, request: Set, notes: list[str]) -> Step | None:
        place = (folder.hierarchy.controller, folder.path, request.knob)
        old = self._entries.get(place)
        if old is not None and old.inode != folder.inode:
            notes.append(f"{folder.path}: was removed and made anew since")
            old = None  # the new entry takes its place
        if request.run in self._given_up.get(place, ()):
            notes.append(f"{folder.path}: left alone, as somebody else sets it too")
            return None
        if old is not None and (theirs := foreign(folder, old)):
            notes.append(f"{theirs}: left alone")
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
        step = step_of(folder, old, new)
        if old is None and not step.changes:
            return None
        return step

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
                    steps.append(step_of(folder, self._late[place], entry))
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
                changes += changes_of(steps)
        restored, more = self._restore(over)
        notes += more
        self._keep(notes)
        return changes + restored

    def _apply(self, steps: Sequence[Step], notes: list[str]) -> None:
        """All of them, or none: what was written of a refused request is taken back."""
        if not steps:
            return
        entries = dict(self._entries)
        entries.update({step.new.place: step.new for step in steps})
        self._save(entries)
        self._entries = entries
        done: list[Step] = []
        try:
            for step in in_order(steps):
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

    def _put(self, step: Step, notes: list[str]) -> bool:
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

    def _take_back(self, step: Step, notes: list[str]) -> None:
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


def _after(notes: Sequence[str]) -> str:
    return f"; {notes[-1]}" if notes else ""
