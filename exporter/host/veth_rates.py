"""What tc lets pass to and from a network namespace: the rates of its veths' ends on the host.

The rule: nobody's namespace is entered. The kernel says by netlink which link leads into which
namespace, and one dump has all queueing disciplines. What no tc sets is None. Knows no pods.

Kernel: include/uapi/linux/{rtnetlink,if_link,net_namespace,pkt_sched,pkt_cls}.h and
tc_act/tc_mirred.h; net/core/net_namespace.c rtnl_net_getid(). The CNI bandwidth plugin sets a tbf
on the host's end and, for what leaves the pod, another on an ifb that a filter redirects to.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_GETLINK, _GETQDISC, _GETCLASS, _GETFILTER, _GETNSID = 18, 38, 42, 46, 90
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # nlattr; the length has itself in it
_TYPE_BITS = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_LINK = struct.Struct("=BxHiII")  # ifinfomsg
_TC = struct.Struct("=BxxxiIII")  # tcmsg: family, ifindex, handle, parent, info
_AT_ROOT = 0xFFFFFFFF
_INGRESS = {b"ingress": 0xFFFF0000, b"clsact": 0xFFFFFFF2}  # where their filters hang
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_LINK_NETNSID = 3, 18, 37
_IFLA_INFO_KIND = 1
_KIND, _OPTIONS = 1, 2  # TCA_ and TCA_ACT_ alike
_NETNSA_NSID, _NETNSA_PID, _NETNSA_FD = 1, 2, 3
_PARMS, _TBF_RATE64, _HTB_CEIL64, _POLICE_RATE64, _MIRRED_PARMS = 1, 4, 7, 8, 2
_RATE_AT = 8  # of tc_ratespec, bytes per second; 12 bytes in all
_HTB_CEIL_AT, _POLICE_RATE_AT = 12 + _RATE_AT, 20 + _RATE_AT
_MIRRED_TO = struct.Struct("=iI")  # eaction, ifindex, behind tc_gen's 20 bytes
_REDIRECT = 1
_ACTIONS_OF = {b"u32": 7, b"matchall": 2, b"flower": 3, b"basic": 3, b"bpf": 1, b"fw": 4}
_ENOUGH = 1 << 17


class Rates(NamedTuple):
    """Of one veth, by its name on the host; bytes per second as the namespace has them."""

    device: str
    receive: int | None
    transmit: int | None


class _Discipline(NamedTuple):
    kind: bytes
    at: int  # its parent
    options: dict[int, bytes]


def veth_rates(namespaces: Iterable[Path]) -> dict[Path, list[Rates]]:
    """Of each namespace (a /proc/<pid>/ns/net) that a veth of ours leads into. One that is gone or
    that none leads into is not in it. Raises OSError where the kernel does not answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        veths = _veths(sock)
        places: dict[Path, int] = {}
        for path in namespaces:
            with suppress(OSError):  # its process has ended
                number = _namespace_id(sock, path)
                if number in veths:
                    places[path] = number
        if not places:
            return {}
        disciplines = _disciplines(sock)
        return {
            path: [
                Rates(
                    name,
                    _root_rate(sock, disciplines, index),
                    _ingress_rate(sock, disciplines, index),
                )
                for index, name in veths[number]
            ]
            for path, number in places.items()
        }


def _veths(sock: socket.socket) -> dict[int, list[tuple[int, str]]]:
    """Index and name of those here, by our number of the namespace of their other end."""
    found: dict[int, list[tuple[int, str]]] = {}
    for payload in _ask(sock, _GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
        attributes = _attributes(payload[_LINK.size :])
        if _IFLA_LINK_NETNSID not in attributes:
            continue
        if _text(_attributes(attributes.get(_IFLA_LINKINFO, b"")), _IFLA_INFO_KIND) != b"veth":
            continue
        number = struct.unpack("=i", attributes[_IFLA_LINK_NETNSID])[0]
        index = _LINK.unpack_from(payload)[2]
        name = _text(attributes, _IFLA_IFNAME).decode(errors="replace")
        found.setdefault(number, []).append((index, name))
    return found


def _namespace_id(sock: socket.socket, path: Path) -> int:
    """-1 where our namespace has no number for it. By its process' number, which takes no right;
    where /proc is of another pid namespace than ours by its file, which takes CAP_SYS_PTRACE."""
    pid, proc = path.parts[-3], path.parents[2]
    if pid.isdecimal() and (proc / "self").readlink() == Path(str(os.getpid())):
        return _number_of(sock, _NETNSA_PID, int(pid))
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _number_of(sock, _NETNSA_FD, fd)
    finally:
        os.close(fd)


def _number_of(sock: socket.socket, attribute: int, value: int) -> int:
    body = bytes(4) + _ATTRIBUTE.pack(8, attribute) + struct.pack("=I", value)
    for payload in _ask(sock, _GETNSID, body, _REQUEST):
        number = _attributes(payload[4:]).get(_NETNSA_NSID, b"\xff\xff\xff\xff")
        return int(struct.unpack("=i", number)[0])
    return -1


def _disciplines(sock: socket.socket) -> dict[int, list[_Discipline]]:
    """By the link's index."""
    found: dict[int, list[_Discipline]] = {}
    for index, parent, kind, options in _tc(sock, _GETQDISC, 0, 0):
        found.setdefault(index, []).append(_Discipline(kind, parent, options))
    return found


def _root_rate(
    sock: socket.socket, disciplines: dict[int, list[_Discipline]], index: int
) -> int | None:
    """What may leave the link; of htb what its classes at the top may at most."""
    for kind, at, options in disciplines.get(index, ()):
        if at != _AT_ROOT:
            continue
        if kind == b"tbf":
            return _rate(options, _PARMS, _RATE_AT, _TBF_RATE64)
        if kind == b"htb":
            ceilings = [
                _rate(of, _PARMS, _HTB_CEIL_AT, _HTB_CEIL64)
                for _, parent, _, of in _tc(sock, _GETCLASS, index, 0)
                if parent == _AT_ROOT
            ]
            return max((each for each in ceilings if each is not None), default=None)
    return None


def _ingress_rate(
    sock: socket.socket, disciplines: dict[int, list[_Discipline]], index: int
) -> int | None:
    """What may come in by the link: the least of what police and ifbs let pass."""
    rates: list[int | None] = []
    for qdisc in disciplines.get(index, ()):
        if qdisc.kind not in _INGRESS:
            continue
        for _, _, kind, options in _tc(sock, _GETFILTER, index, _INGRESS[qdisc.kind]):
            policed, redirected = filter_limits(kind, options)
            rates += policed
            rates += [_root_rate(sock, disciplines, link) for link in redirected]
    return min((rate for rate in rates if rate), default=None)


def filter_limits(kind: bytes, options: dict[int, bytes]) -> tuple[list[int | None], list[int]]:
    """Of one filter, by its TCA_OPTIONS: what its police actions let pass, and the links that it
    redirects to."""
    policed: list[int | None] = []
    redirected: list[int] = []
    actions = _attributes(options.get(_ACTIONS_OF.get(kind, 0), b""))
    for action in map(_attributes, actions.values()):
        name, of = _text(action, _KIND), _attributes(action.get(_OPTIONS, b""))
        if name == b"police":
            policed.append(_rate(of, _PARMS, _POLICE_RATE_AT, _POLICE_RATE64))
        elif name == b"mirred" and len(of.get(_MIRRED_PARMS, b"")) >= 28:
            way, to = _MIRRED_TO.unpack_from(of[_MIRRED_PARMS], 20)
            if way == _REDIRECT:
                redirected.append(to)
    return policed, redirected


def _rate(options: dict[int, bytes], parms: int, at: int, wide: int) -> int | None:
    """Bytes per second; `wide` is the attribute that has it where 32 bits do not."""
    if wide in options:
        return int(struct.unpack("=Q", options[wide])[0])
    if len(options.get(parms, b"")) < at + 4:
        return None
    return int(struct.unpack_from("=I", options[parms], at)[0]) or None


def _tc(
    sock: socket.socket, request: int, index: int, parent: int
) -> Iterator[tuple[int, int, bytes, dict[int, bytes]]]:
    """Link, parent, kind and options of each."""
    for payload in _ask(sock, request, _TC.pack(0, index, 0, parent, 0)):
        _, link, _, at, _ = _TC.unpack_from(payload)
        attributes = _attributes(payload[_TC.size :])
        yield link, at, _text(attributes, _KIND), _attributes(attributes.get(_OPTIONS, b""))


def _ask(
    sock: socket.socket, request: int, body: bytes, flags: int = _REQUEST | _DUMP
) -> list[bytes]:
    """The payloads of all answers. Raises OSError."""
    sock.send(_HEADER.pack(_HEADER.size + len(body), request, flags, 0, 0) + body)
    found: list[bytes] = []
    while True:
        data = sock.recv(_ENOUGH)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            payload = data[at + _HEADER.size : at + length]
            at += (length + 3) & ~3
            if kind == _DONE:
                return found
            if kind == _ERROR:
                code = -int(struct.unpack_from("=i", payload)[0])
                if code:
                    raise OSError(code, os.strerror(code))
                return found
            found.append(payload)
        if not flags & _DUMP:
            return found


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_BITS] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def _text(attributes: dict[int, bytes], kind: int) -> bytes:
    return attributes.get(kind, b"").rstrip(b"\0")
