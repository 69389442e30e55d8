"""Which cgroup hierarchies there are, and whether they count what usage is made of."""

from collections.abc import Sequence

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.host.mounts import CgroupMount, cgroup_mounts

SUBJECT = "cgroups"
_WANTED = {"cpu": ("cpu", "cpuacct"), "memory": ("memory",), "io": ("io", "blkio")}
"""What is counted by which controller: of v2, of v1."""


def check(machine: Machine) -> Line:
    mounts = cgroup_mounts(machine.host)
    if not mounts:
        if machine.text("self/mountinfo") is None:
            return Line(SUBJECT, "unknown", "mountinfo cannot be read")
        mend = "mount -t cgroup2 cgroup2 /sys/fs/cgroup (in a container: the host's /sys/fs/cgroup)"
        return Line(SUBJECT, "missing", "no hierarchy is mounted", mend, "usage")
    v2 = next((mount for mount in mounts if mount.version == 2), None)
    ones = sorted(name for mount in mounts if mount.version == 1 for name in mount.controllers)
    parts = []
    if v2 is not None:
        parts.append(f"v2 at {v2.place} ({' '.join(sorted(v2.controllers)) or 'no controllers'})")
    if ones:
        parts.append(f"v1 ({' '.join(ones)})")
    kind = "hybrid" if v2 and ones else "v2" if v2 else "v1"
    found = f"{kind}: {', '.join(parts)}"
    absent = _absent(mounts)
    if absent:
        mend = f"mount the {', '.join(absent)} controller, or boot with cgroup_no_v1=all"
        if kind == "v2":
            mend = "boot without cgroup_disable=, and see cgroup.controllers of the root"
        return Line(SUBJECT, "degraded", f"{found}; not counted: {', '.join(absent)}", mend)
    if v2 is None or ones:
        return Line(SUBJECT, "ok", found)
    handed_down = _subtree(v2)
    if handed_down is None:
        return Line(SUBJECT, "unknown", f"{found}; cgroup.subtree_control cannot be read")
    closed = [name for name in _WANTED if name not in handed_down]
    if closed:
        words = " ".join(f"+{name}" for name in closed)
        mend = f"echo '{words}' > {v2.place}/cgroup.subtree_control (the kubelet, systemd do it)"
        return Line(SUBJECT, "degraded", f"{found}; not handed down: {', '.join(closed)}", mend)
    return Line(SUBJECT, "ok", found)


def _absent(mounts: Sequence[CgroupMount]) -> list[str]:
    there = {name for mount in mounts for name in mount.controllers}
    return [name for name, either in _WANTED.items() if not there.intersection(either)]


def _subtree(mount: CgroupMount) -> frozenset[str] | None:
    try:
        return frozenset((mount.folder / "cgroup.subtree_control").read_text().split())
    except OSError:
        return None
