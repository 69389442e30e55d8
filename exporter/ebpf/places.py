"""Where functions go that no event of the kernel calls: network interfaces and cgroups.

Only where the YAML says so (`attach`), or where the section does, as upstream's "xdp/eth0". All by
BPF links, so that nothing stays behind however the agent ends. Knows no maps and no metrics.
"""

import errno
import os
import socket

from exporter.ebpf import libbpf
from exporter.ebpf.libbpf_object import Function, Object
from exporter.ebpf.spec import AttachSpec
from exporter.errors import BpfError
from exporter.hostfs import HostFs

_TCX = {"ingress": 46, "egress": 47}  # include/uapi/linux/bpf.h, enum bpf_attach_type
_NET = ("xdp", "tc", "tcx", "classifier")


def kind_of(section: str) -> str | None:
    """ "xdp", "tc" or "cgroup" for a section that needs a place; None for all others."""
    kind = section.partition("/")[0].partition(".")[0]
    if kind == "xdp":
        return "xdp"
    if kind in _NET:
        return "tc"
    cgroup = kind.startswith("cgroup") or kind in ("sockops", "sock_ops")
    return "cgroup" if cgroup else None


def interface_of(section: str) -> str | None:
    """The interface that upstream's section "xdp/NAME" says; libbpf knows no such section."""
    kind, _, name = section.partition("/")
    return name if kind == "xdp" and name not in ("", "devmap", "cpumap") else None


def attach_to_places(
    obj: Object, function: Function, spec: AttachSpec | None, host: HostFs
) -> None:
    """Raises LibbpfError where the kernel refuses, BpfError where there is no place for it."""
    kind = kind_of(function.section)
    named = interface_of(function.section)
    interfaces = spec.interfaces if spec else (named,) if named else ()
    if kind == "cgroup":
        if spec is None or spec.cgroup is None:
            raise BpfError(_nowhere(function, "a cgroup"))
        _attach_to_cgroup(obj, function, spec.cgroup, host)
        return
    if not interfaces:
        raise BpfError(_nowhere(function, "interfaces"))
    for name in interfaces:
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            raise BpfError(f"no interface {name} here") from None
        if kind == "xdp":
            _attach_xdp(obj, function, name, index)
        else:
            _attach_tcx(obj, function, index, spec.direction if spec else "ingress")


def _nowhere(function: Function, what: str) -> str:
    return f"nothing says where to attach it: name {what} for {function.name} under `attach`"


def _attach_xdp(obj: Object, function: Function, name: str, index: int) -> None:
    try:
        obj.keep(function.attach_xdp(index))
    except libbpf.LibbpfError as error:
        if error.errno == errno.EBUSY:
            raise BpfError(f"interface {name} has an XDP program already") from None
        raise


def _attach_tcx(obj: Object, function: Function, index: int, direction: str) -> None:
    try:
        obj.keep_fd(function.create_link(index, _TCX[direction]))
    except libbpf.LibbpfError as error:
        if error.errno == errno.EINVAL:
            raise BpfError("this kernel has no links for tc programs (tcx, 6.6)") from None
        raise


def _attach_to_cgroup(obj: Object, function: Function, path: str, host: HostFs) -> None:
    usual = "/sys/fs/cgroup"
    inside = path == usual or path.startswith(usual + "/")
    below = path[len(usual) :].lstrip("/")
    folder = host.cgroup / below if inside else host.root / path.lstrip("/")
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BpfError(f"cgroup {path}: {error.strerror}") from None
    try:
        obj.keep(function.attach_cgroup(fd))
    except libbpf.LibbpfError as error:
        if error.errno == errno.EBADF:  # kernel/cgroup/cgroup.c, cgroup_get_from_fd
            raise BpfError(f"cgroup {path}: is none of the unified hierarchy") from None
        raise
    finally:
        os.close(fd)
