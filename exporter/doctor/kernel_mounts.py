"""The kernel's own filesystems that BPF tools use: tracefs for tracepoints, bpffs for nothing of
kernmesh's.
"""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.doctor.wants import named
from exporter.ebpf.features import tracefs
from exporter.host.mounts import unescape

_BY_TRACEFS = frozenset(("tracepoint", "tp"))


def check_tracefs(machine: Machine) -> Line:
    try:
        place = tracefs(machine.host)
    except PermissionError:
        return Line("tracefs", "unknown", "what is in it only root is told", "ask as root")
    if place is not None:
        return Line("tracefs", "ok", str(place))
    if mounted(machine, "tracefs") != "":
        return Line("tracefs", "unknown", "what is in it only root is told", "ask as root")
    mend = "mount -t tracefs nodev /sys/kernel/tracing"
    lost = machine.wants.lost(_BY_TRACEFS)
    if lost or not machine.wants.programs:
        return Line("tracefs", "missing", "not mounted", mend, named(lost))
    found = "not mounted; every program has a way without it"
    return Line("tracefs", "degraded", found, mend)


def check_bpffs(machine: Machine) -> Line:
    place = mounted(machine, "bpf")
    if place is None:
        return Line("bpffs", "unknown", "mountinfo cannot be read")
    if place:
        return Line("bpffs", "ok", place)
    found = "not mounted; kernmesh pins nothing there"
    return Line("bpffs", "missing", found, "for bpftool: mount -t bpf bpf /sys/fs/bpf")


def mounted(machine: Machine, kind: str) -> str | None:
    """Where this process, or else the host's init, has a filesystem of this type; "" where neither
    has, None where neither can be asked. Documentation/filesystems/proc.rst, section 3.5."""
    texts = [machine.text(f"{process}/mountinfo") for process in ("self", "1")]
    for text in texts:
        for line in (text or "").splitlines():
            before, _, after = line.partition(" - ")
            if after.split()[:1] == [kind] and len(before.split()) > 4:
                return unescape(before.split()[4])
    return None if all(text is None for text in texts) else ""
