"""Delay accounting as the kernel hands it to user space: Documentation/accounting/taskstats.rst."""

import socket
import struct
from typing import NamedTuple

ACCOUNTING = "kernel/task_delayacct"
"""Switched on, it is done for tasks that are made meanwhile."""
_NETLINK_GENERIC = 16
_ERROR = 2  # linux/netlink.h: NLMSG_ERROR
_CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2  # linux/genetlink.h
_GET, _BY_PID, _AGGREGATE, _STATS = 1, 1, 4, 3  # linux/taskstats.h
_FREEPAGES = 312  # offset of freepages_count in struct taskstats, which only grows at its end


class Reclaims(NamedTuple):
    """Direct reclaims of a task that have ended, and how long they took."""

    times: int
    ns: int


def reclaims(pid: int) -> Reclaims:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as netlink:
        netlink.settimeout(60)
        netlink.bind((0, 0))
        known = _ask(netlink, _CONTROLLER, _GET_FAMILY, _FAMILY_NAME, b"TASKSTATS\0")
        (family,) = struct.unpack_from("=H", known[_FAMILY_ID])
        told = _ask(netlink, family, _GET, _BY_PID, struct.pack("=I", pid))
    return Reclaims(*struct.unpack_from("=QQ", _attributes(told[_AGGREGATE])[_STATS], _FREEPAGES))


def _ask(
    netlink: socket.socket, family: int, command: int, attribute: int, value: bytes
) -> dict[int, bytes]:
    """One question with one attribute; the answer's attributes."""
    body = struct.pack("=BBHHH", command, 1, 0, 4 + len(value), attribute) + value
    body += bytes(-len(body) % 4)
    netlink.send(struct.pack("=IHHII", 16 + len(body), family, 1, 1, 0) + body)
    answer = netlink.recv(1 << 16)
    length, kind = struct.unpack_from("=IH", answer)
    assert kind != _ERROR, struct.unpack_from("=i", answer, 16)
    return _attributes(answer[20:length])


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found
