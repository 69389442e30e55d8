"""Who is asked and who may be suspected: pods, jobs in their own cgroups, applications, the node.

The rule: what it gives is the very same object while nobody came or went, for whoever gets it
compares by identity. A name that is learnt later makes nobody another subject while something is
going on with him. Knows cgroups by path; reads none.
"""

from collections.abc import Callable, Iterable, Sequence

from exporter.errors import NoData
from exporter.interference.model import ALL_JOBS, NODE, Subject, WorkClass
from exporter.usage.podnames import Names
from exporter.usage.pods import Kubepods, Offline
from exporter.usage.subjects import PodSubjects
from exporter.usage.subjects import Subject as Cgroup

OURS = "kernmesh"
"""The cgroup that holds a job's own (the actuator's moves.py)."""


class Roster:
    """Any thread may ask for cgroups; one only for subjects."""

    def __init__(
        self,
        kubepods: Kubepods,
        offline: Offline,
        names: Names | None,
        now: Callable[[], float],
        jobs: Sequence[str] = (),
    ) -> None:
        """`jobs` are those that have a cgroup of their own; `now` in monotonic seconds."""
        self._pods = PodSubjects(kubepods, offline, now)
        self._kubepods, self._offline, self._names, self._now = kubepods, offline, names, now
        self._jobs = tuple(Cgroup(f"{OURS}/{job}", "online") for job in jobs)
        self._before: Sequence[Cgroup] | None = None
        self._all: tuple[Cgroup, ...] = ()
        self._by_class: dict[str, tuple[Cgroup, ...]] = {"online": (), "offline": ()}
        self._key: object = None
        self._subjects: tuple[Subject, ...] = (NODE,)

    def cgroups(self) -> Sequence[Cgroup]:
        """All that are looked at."""
        with self._kubepods.turn:
            try:
                found: Sequence[Cgroup] = self._pods()
            except NoData:
                found = ()
            if found is not self._before:
                self._before = found
                self._all = (*self._jobs, *found)
                self._by_class = {
                    kind: tuple(each for each in self._all if each.kind == kind)
                    for kind in ("online", "offline")
                }
            return self._all

    def online(self) -> Sequence[Cgroup]:
        with self._kubepods.turn:
            self.cgroups()
            return self._by_class["online"]

    def offline(self) -> Sequence[Cgroup]:
        with self._kubepods.turn:
            self.cgroups()
            return self._by_class["offline"]

    @property
    def left_out(self) -> int:
        """Pods beyond what can be looked at."""
        return self._pods.left_out

    def subjects(
        self, applications: Sequence[str], busy: Callable[[], Iterable[Subject]]
    ) -> Sequence[Subject]:
        """Of `applications` the names; `busy` are the subjects with which something is going on."""
        cgroups = self.cgroups()
        changes = 0
        if self._names is not None:
            self._names.refresh(self._now(), any(not s.pod and s.uid for s in self._subjects))
            changes = self._names.changes
        key = cgroups, changes, tuple(applications)
        if key == self._key:
            return self._subjects
        self._key = key
        kept = {(each.name, each.uid): each for each in busy() if each.scope == "container"}
        found = [self._subject(each) for each in cgroups]
        self._subjects = (
            NODE,
            *(_kept(each, kept.get((each.name, each.uid))) for each in found),
            *((ALL_JOBS,) if applications else ()),
            *(Subject("app", name) for name in applications),
        )
        return self._subjects

    def offline_elsewhere(self) -> Sequence[Subject]:
        """Offline by what is said of the pod, not by where it stands."""
        return [
            each
            for each in self._subjects
            if each.work == "offline" and each.uid and not self._offline.in_roots(each.name)
        ]

    def _subject(self, cgroup: Cgroup) -> Subject:
        named = self._names.pods.get(cgroup.uid or "") if self._names else None
        work: WorkClass = "offline" if cgroup.kind == "offline" else "online"
        pod = f"{named.namespace}/{named.name}" if named else ""
        return Subject("container", f"/{cgroup.path.strip('/')}", pod, cgroup.uid or "", work)


def _kept(now: Subject, before: Subject | None) -> Subject:
    """The one before, where no more than the name is another."""
    return before if before is not None and before.work == now.work else now
