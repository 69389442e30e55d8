"""Names of pods and containers as kubelet's log folders have them; no API is asked.

/var/log/pods/<namespace>_<name>_<uid> (pkg/kubelet/kuberuntime/helpers.go BuildPodLogsDirectory)
and /var/log/containers/<name>_<namespace>_<container>-<id>.log (legacy.go legacyLogSymlink).
Names in Kubernetes have no underscore, so the parts are certain. Whoever has no log folder has no
name: that is unknown, not an error.
"""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from exporter.hostfs import HostFs

_POD = re.compile(r"([^_]+)_([^_]+)_([^_]+)")
_CONTAINER = re.compile(r"[^_]+_[^_]+_([^_]+)-([0-9a-f]{64})\.log")
# A folder's time says whether names came or went, but for those in the same tick of the clock.
_LOOK_AGAIN_SECONDS = 10.0


class PodName(NamedTuple):
    namespace: str
    name: str


class Names(Protocol):
    """`pods` by uid and `containers` (names by id). `changes` counts what made these, or a pod's
    class, others than before."""

    @property
    def pods(self) -> Mapping[str, PodName]: ...
    @property
    def containers(self) -> Mapping[str, str]: ...
    @property
    def changes(self) -> int: ...

    def refresh(self, now: float, incomplete: bool) -> None:
        """`now` in monotonic seconds; `incomplete`: somebody has no name yet."""


class LogNames:
    """`pods` by uid and `containers` (names by id). `changes` counts rereads."""

    def __init__(self, fs: HostFs) -> None:
        self._folders = [str(fs.root / "var/log" / name) for name in ("pods", "containers")]
        self._stamps: list[int | None] = [None, None]
        self._read_at = float("-inf")
        self.pods: dict[str, PodName] = {}
        self.containers: dict[str, str] = {}
        self.changes = 0

    def refresh(self, now: float, incomplete: bool) -> None:
        """`now` in monotonic seconds; `incomplete`: somebody has no name yet, so it is looked
        again although nothing seems to have changed."""
        stamps = [_modified(folder) for folder in self._folders]
        again = incomplete and now - self._read_at >= _LOOK_AGAIN_SECONDS
        if stamps == self._stamps and not again:
            return
        self._stamps, self._read_at = stamps, now
        before = self.pods, self.containers
        pods, containers = (_names(folder) for folder in self._folders)
        found = (match for name in pods if (match := _POD.fullmatch(name)))
        self.pods = {uid: PodName(namespace, name) for namespace, name, uid in map(_groups, found)}
        found = (match for name in containers if (match := _CONTAINER.fullmatch(name)))
        self.containers = {identity: name for name, identity in map(_groups, found)}
        if (self.pods, self.containers) != before:
            self.changes += 1


def _groups(match: re.Match[str]) -> tuple[str, ...]:
    return match.groups()


def _modified(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116
    except OSError:
        return None


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []
