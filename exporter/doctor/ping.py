"""Whether ICMP can be sent: by datagram sockets within ping_group_range, else by raw ones.

The kernel looks at the effective group and at the supplementary ones: net/ipv4/ping.c
ping_init_sock(). pingmesh/probes/icmp.py takes the first that it gets.
"""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.ebpf.features import CAP_NET_RAW, effective_capabilities

SUBJECT = "ping_group_range"


def check(machine: Machine) -> Line:
    text, status = machine.text("sys/net/ipv4/ping_group_range"), machine.text("self/status")
    words = (text or "").split()
    groups = groups_of(status or "")
    if len(words) != 2 or status is None or not groups:
        return Line(SUBJECT, "unknown", "net.ipv4.ping_group_range or our groups cannot be read")
    low, high = int(words[0]), int(words[1])
    if any(low <= group <= high for group in groups):
        return Line(SUBJECT, "ok", f"{low} to {high} has one of our groups")
    found = f"{low} to {high} has none of our groups" if low <= high else "closed"
    mend = f'sysctl -w net.ipv4.ping_group_range="{groups[0]} {groups[0]}"'
    if CAP_NET_RAW in (effective_capabilities(status) or ()):
        found += "; raw sockets are used, which get a copy of all ICMP"
        return Line(SUBJECT, "degraded", found, mend)
    found += ", and CAP_NET_RAW is not held: no ICMP probes"
    return Line(SUBJECT, "missing", found, f"{mend}, or grant CAP_NET_RAW", machine.wants.ping)


def groups_of(status: str) -> list[int]:
    """From /proc/<pid>/status: the effective group first, then the supplementary ones."""
    found: list[int] = []
    for line in status.splitlines():
        name, _, rest = line.partition(":")
        if name == "Gid":
            found.insert(0, int(rest.split()[1]))
        elif name == "Groups":
            found += [int(word) for word in rest.split()]
    return found
