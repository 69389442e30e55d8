"""What etcd and the watch cache are to an API server: objects, versions, history, compaction. Pure.

https://kubernetes.io/docs/reference/using-api/api-concepts/ (below: AC), "Resource versions" and
"Efficient detection of changes".
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

Object = dict[str, Any]
Key = tuple[str, str, str]
"""Plural, namespace, name."""


class Expired(Exception):
    """The version or the continue token is older than the last compaction."""


class Written(NamedTuple):
    """One change. `old` is None of what was made, `new` of what was deleted; `last` is what a
    watcher of the deletion is shown: the last state, with the version of the deletion."""

    version: int
    key: Key
    old: Object | None
    new: Object | None
    last: Object


class Store:
    def __init__(self) -> None:
        # One counter for everything, as etcd has one revision; clients must not rely on it (AC).
        self.version = self.compacted = 100  # what was before, nobody remembers
        self.objects: dict[Key, Object] = {}
        self.history: list[Written] = []
        self._snapshots: dict[int, list[Object]] = {}
        self._lists = 0
        self.hearers: set[Callable[[Written], None]] = set()

    def write(self, key: Key, new: Object | None) -> Object:
        """Makes, replaces or (None) deletes. The stored object has its resourceVersion set."""
        old = self.objects.get(key)
        self.version += 1
        last = dict(new if new is not None else old or {})
        last["metadata"] = last["metadata"] | {"resourceVersion": str(self.version)}
        if new is None:
            del self.objects[key]
        else:
            self.objects[key] = last
        written = Written(self.version, key, old, None if new is None else last, last)
        self.history.append(written)
        for hear in tuple(self.hearers):
            hear(written)
        return last

    def select(self, plural: str, namespace: str) -> list[Object]:
        """By namespace and name, which is the order of etcd's keys."""
        return [
            found
            for (kind, place, _), found in sorted(self.objects.items(), key=lambda row: row[0])
            if kind == plural and (not namespace or place == namespace)
        ]

    def snapshot(self, found: Sequence[Object]) -> int:
        """Kept for the pages that follow, by its number: a list is of one version throughout (AC,
        "Retrieving large results sets in chunks"), and several are read side by side."""
        self._lists += 1
        self._snapshots[self._lists] = list(found)
        return self._lists

    def rest(self, number: int) -> list[Object]:
        """Of a snapshot. Raises Expired."""
        if number not in self._snapshots:
            raise Expired
        return self._snapshots[number]

    def since(self, version: int) -> Iterator[Written]:
        """Raises Expired."""
        if version < self.compacted:
            raise Expired
        return (each for each in self.history if each.version > version)

    def compact(self) -> None:
        """Forgets all history, as etcd does after five minutes (AC: "410 Gone")."""
        # A write that nobody asked for, so that whoever has seen everything is behind, too.
        self.version += 1
        self.compacted = self.version
        self.history.clear()
        self._snapshots.clear()
