"""What is known of a collection: each object reduced to what its reader wants, by namespace and
name, and what changed with each answer. Pure.

The rule: an object of the same name with another uid is another object (docs/concepts/overview/
working-with-objects/names: UIDs): the old one is deleted, then the new one added.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Literal, NamedTuple, TypeVar

from exporter.errors import KernmeshError
from exporter.kube.api import Event, Object

T = TypeVar("T")

Key = tuple[str, str]
"""Namespace ("" where it has none) and name."""


class Change(NamedTuple, Generic[T]):
    """`old` is None of what is added, `new` of what is deleted."""

    kind: Literal["added", "modified", "deleted"]
    key: Key
    old: T | None
    new: T | None


class _Kept(NamedTuple, Generic[T]):
    uid: str
    value: T


class Cache(Generic[T]):
    """`reduce` makes of an object what is kept, or None for what is not wanted. Objects that it
    cannot read (KeyError, TypeError, ValueError, AttributeError, KernmeshError) are not kept and
    counted in `unreadable`; `problem` says the last one's."""

    def __init__(self, reduce: Callable[[Object], T | None]) -> None:
        self._reduce = reduce
        self._kept: dict[Key, _Kept[T]] = {}
        self._unseen: set[Key] = set()
        self.version = ""
        self.unreadable = 0
        self.problem = ""

    def __len__(self) -> int:
        return len(self._kept)

    def values(self) -> Iterator[T]:
        return (kept.value for kept in self._kept.values())

    def begin_list(self) -> None:
        """A list begins; what it has not by its end is gone. Until then the old is known too."""
        self._unseen = set(self._kept)

    def listed(self, objects: Iterable[Object]) -> Iterator[Change[T]]:
        """A page of it."""
        for each in objects:
            yield from self._put(each)

    def end_list(self, version: str) -> Iterator[Change[T]]:
        gone, self._unseen = self._unseen, set()
        self.version = version
        for key in gone:
            yield from self._drop(key)

    def watched(self, event: Event) -> Iterator[Change[T]]:
        """Also the version that a watch would be resumed from."""
        meta = event.object.get("metadata")
        version = meta.get("resourceVersion") if isinstance(meta, dict) else None
        if isinstance(version, str) and version:
            self.version = version
        if event.type == "DELETED":
            key, _ = _identity(event.object)
            yield from self._drop(key)
        elif event.type != "BOOKMARK":
            yield from self._put(event.object)

    def _put(self, found: Object) -> Iterator[Change[T]]:
        key, uid = _identity(found)
        self._unseen.discard(key)
        value: T | None = None
        try:
            value = self._reduce(found)
        except (KeyError, TypeError, ValueError, AttributeError, KernmeshError) as error:
            self.unreadable += 1
            name = "/".join(part for part in key if part) or "an object without a name"
            self.problem = f"{name}: {type(error).__name__}: {error}"
        before = self._kept.get(key)
        if before is not None and (value is None or before.uid != uid):
            yield from self._drop(key)
            before = None
        if value is None:
            return
        self._kept[key] = _Kept(uid, value)
        if before is None:
            yield Change("added", key, None, value)
        elif before.value != value:
            yield Change("modified", key, before.value, value)

    def _drop(self, key: Key) -> Iterator[Change[T]]:
        kept = self._kept.pop(key, None)
        if kept is not None:
            yield Change("deleted", key, kept.value, None)


def _identity(found: Object) -> tuple[Key, str]:
    meta = found.get("metadata")
    if not isinstance(meta, dict):
        meta = {}
    parts = (meta.get("namespace"), meta.get("name"), meta.get("uid"))
    namespace, name, uid = (each if isinstance(each, str) else "" for each in parts)
    return (namespace, name), uid
