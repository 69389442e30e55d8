"""kubepods: a cgroup's path as what Kubernetes put there: pod uid, container id, QoS class, class.

Knows the path forms of kubelet's cgroupfs and systemd drivers with containerd, CRI-O and docker
(pkg/kubelet/cm/cgroup_manager_linux.go, qos_container_manager_linux.go), below any cgroup root,
and Caelus' kubepods/offline. Pure: a path is all that it needs.
"""

import re
from typing import NamedTuple

# A static pod's uid is an MD5 sum; systemd's unit names have _ for -, which parts their levels.
_UID = r"[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32}"
_POD = re.compile(rf"(?:^|-)pod({_UID})(?:\.slice)?")
_ROOT = re.compile(r"(?:^|-)kubepods(?:$|[-.])")
# <id>, docker-<id>.scope, cri-containerd-<id>.scope, crio-<id>, libpod-<id>.scope …
_CONTAINER = re.compile(r"(?:(?P<runtime>[a-z-]+)-)?(?P<id>[0-9a-f]{64})(?:\.scope)?")
_CONMON = "crio-conmon"  # CRI-O's own process beside each container
_LEVEL = re.compile(r"[-.]")


class PodPath(NamedTuple):
    """`uid`, `container`, `qos` are "" where the path names none. `qos` is "guaranteed",
    "burstable" or "besteffort"; `kind` one of these, "offline" or "system"."""

    uid: str
    container: str
    qos: str
    kind: str


def read_path(path: str) -> PodPath:
    """Any cgroup path; never fails."""
    uid, container, levels, in_kubepods = "", "", set[str](), False
    # ":" where kubelet has the systemd driver but containerd has not:
    # …/kubepods-pod<uid>.slice:cri-containerd:<id>
    for part in re.split("[/:]", path):
        if not uid:
            found = _POD.fullmatch(part) or _POD.search(part)
            if not in_kubepods and _ROOT.search(part):
                in_kubepods, container = True, ""  # the container before it is a node (kind)
            if in_kubepods:
                levels.update(_LEVEL.split(part[: found.start()] if found else part))
            if found:
                uid, container = found[1].replace("_", "-"), ""
                continue
        inside = _CONTAINER.fullmatch(part)
        if inside and inside["runtime"] != _CONMON:
            container = container or inside["id"]
            if uid:
                break
    qos = next((each for each in ("besteffort", "burstable") if each in levels), "")
    if uid and in_kubepods and not qos and "offline" not in levels:
        qos = "guaranteed"
    return PodPath(uid, container, qos, "offline" if "offline" in levels else qos or "system")


def is_kubepods(name: str) -> bool:
    """Whether a folder of this name is kubelet's, at the top or (systemd's units carry the whole
    path in their names) below it."""
    return _ROOT.search(name) is not None


def levels(path: str) -> tuple[str, ...]:
    """A cgroup's place as cgroupfs would name it, whichever driver made it, from kubepods on where
    that is in it: ("kubepods", "besteffort", "pod<uid>", …). Of a slice the last part counts, for
    its folder stands in that of the part before it (systemd.slice(5))."""
    parts: list[str] = []
    for part in path.strip("/").split("/"):
        if part.endswith(".slice"):
            part = part.removesuffix(".slice").rpartition("-")[2]
        parts.append(part)
    if "kubepods" in parts:
        del parts[: parts.index("kubepods")]
    return tuple(parts)
