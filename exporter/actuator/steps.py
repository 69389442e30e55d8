"""One cgroup of a request as it is and as it is to be; in which order several are changed. Pure but
for reading.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from exporter.actuator import knobs
from exporter.actuator.cgroups import Folder
from exporter.actuator.journal import Entry, Record
from exporter.actuator.protocol import Change
from exporter.actuator.restore import file_of


class Step(NamedTuple):
    """One cgroup of a request: what is there now by record, and what is to be."""

    folder: Folder
    old: Entry | None
    new: Entry
    now: tuple[str, ...]

    @property
    def changes(self) -> list[tuple[Record, str]]:
        """What is to be written, and what is there now."""
        return [
            (record, now)
            for record, now in zip(self.new.records, self.now, strict=True)
            if record.after not in (now, knobs.ANYTHING)
        ]


def placement(folder: Folder) -> Step:
    """cpu.qos_level for offline work: no knob, for it is never taken back."""
    now = knobs.current(folder, knobs.QOS_LEVEL)
    record = Record(knobs.QOS_LEVEL, now, "-1")
    entry = Entry("cpu", folder.path, folder.inode, "", "qos", {}, (record,))
    return Step(folder, None, entry, (now,))


def step_of(folder: Folder, old: Entry | None, new: Entry) -> Step:
    """To what `new` wants. Raises Unfit, or OSError where the cgroup is gone."""
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
        kept = [r for r in old.records if (r.file, r.key) not in {(p.file, p.key) for p in planned}]
        records += kept
        now += tuple(record.after for record in kept)
    return Step(folder, old, replace(new, records=tuple(records)), now)


def in_order(steps: Sequence[Step]) -> list[Step]:
    """v1 refuses a quota above that of the cgroup around it: less from the inside, more from the
    outside."""

    def depth(step: Step) -> int:
        return step.folder.path.count("/")

    looser = any(
        step.old is not None and _tightness(step.old) < _tightness(step.new) for step in steps
    )
    return sorted(steps, key=depth, reverse=not looser)


def _tightness(entry: Entry) -> float:
    return min(knobs.strictest(entry.wants.values()).values(), default=0.0)


def foreign(folder: Folder, entry: Entry) -> str:
    """What somebody else has set since, "" where all is as we left it."""
    for record in entry.records:
        if record.coupled:
            continue
        now = knobs.value(folder, record)
        if now not in (record.after, record.previous):
            where = folder.shown(file_of(record))
            return f"{where}: somebody else set it to {now}, ours was {record.after}"
    return ""


def changes_of(steps: Iterable[Step]) -> list[Change]:
    """As an answer shows them."""
    return [
        Change(step.folder.shown(file_of(record)), now, record.after)
        for step in steps
        for record, now in step.changes
    ]
