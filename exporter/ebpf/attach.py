"""Attaches what libbpf leaves to its caller, and leaves the rest to libbpf.

uprobe/NAME:symbol and usdt/NAME:provider:probe with a NAME without a folder: every file of that
name on the host (binaries.py). perf_event/type=T,config=C,frequency=F (upstream's own; or
sample_period=N): one event for each CPU that is online.
"""

import ctypes
import errno
import os
import re
from collections.abc import Mapping

from exporter.ebpf import binaries, libbpf
from exporter.ebpf.features import hardware_counters
from exporter.ebpf.libbpf_object import Function, Object
from exporter.ebpf.places import attach_to_places, kind_of
from exporter.ebpf.spec import AttachSpec
from exporter.errors import BpfError
from exporter.hostfs import HostFs

_SYMBOL = re.compile(r"([A-Za-z0-9_.@]+)(?:\+(0x[0-9a-fA-F]+|[0-9]+))?")
_PERF_KEYS = {"type", "config", "frequency", "sample_period"}
# perf_event_open(2), which libc has no function for
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "loongarch64": 241}
_PERF_EVENT_OPEN |= {"ppc64le": 319, "s390x": 331}
_CLOSE_ON_EXEC = 8
_HARDWARE = {0, 3, 4}  # include/uapi/linux/perf_event.h: PERF_TYPE_HARDWARE, _HW_CACHE, _RAW
_FREQUENCY = 1 << 10


class _PerfEventAttr(ctypes.Structure):
    """struct perf_event_attr as far as PERF_ATTR_SIZE_VER0."""

    _fields_ = [
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample", ctypes.c_uint64),  # a period, or with _FREQUENCY samples per second
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("config1", ctypes.c_uint64),
    ]


def is_perf_event(section: str) -> bool:
    """Whether it is one that libbpf takes for no program type at all."""
    return section.startswith("perf_event/")


def attach(obj: Object, function: Function, host: HostFs, place: AttachSpec | None = None) -> None:
    """`place` is what the YAML's `attach` says of it. Raises LibbpfError where libbpf or the kernel
    refuses, else BpfError with one line."""
    kind, _, target = function.section.partition("/")
    kind = kind.removesuffix(".s")
    name, _, rest = target.partition(":")
    if place is not None or kind_of(function.section) is not None:
        attach_to_places(obj, function, place, host)
    elif is_perf_event(function.section):
        _attach_perf_event(obj, function, target, host)
    elif "/" in name or not rest:
        obj.attach(function)
    elif kind in ("uprobe", "uretprobe"):
        _attach_uprobe(obj, function, name, rest, host)
    elif kind == "usdt":
        _attach_usdt(obj, function, name, rest, host)
    else:
        obj.attach(function)


def _attach_uprobe(obj: Object, function: Function, name: str, place: str, host: HostFs) -> None:
    match = _SYMBOL.fullmatch(place)
    if match is None:
        raise BpfError(f"got {place!r}, want a symbol, or symbol+offset")
    files = binaries.find(name, host)
    if not files:
        raise BpfError(_no_file(name, host))
    at_return = function.section.startswith("uretprobe")
    for file in files:
        obj.keep(function.attach_uprobe(str(file), match[1], int(match[2] or "0", 0), at_return))


def _attach_usdt(obj: Object, function: Function, name: str, place: str, host: HostFs) -> None:
    provider, separator, probe = place.partition(":")
    if not separator:
        raise BpfError(f"got {place!r}, want provider:probe")
    files = binaries.find(name, host)
    if not files:
        raise BpfError(_no_file(name, host))
    attached = 0
    for file in files:
        try:
            obj.keep(function.attach_usdt(str(file), provider, probe))
            attached += 1
        except libbpf.LibbpfError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH):  # it has no such probe
                raise
    if not attached:
        looked = ", ".join(map(str, files[:4])) + (" …" if len(files) > 4 else "")
        raise BpfError(f"no probe {provider}:{probe} in {looked}: want builds that have it")


def _no_file(name: str, host: HostFs) -> str:
    return f"no {name} among the programs and libraries of {host.root}"


def _attach_perf_event(obj: Object, function: Function, arguments: str, host: HostFs) -> None:
    wanted = _perf_arguments(arguments)
    by_frequency = "frequency" in wanted
    attr = _PerfEventAttr(
        type=wanted["type"],
        size=ctypes.sizeof(_PerfEventAttr),
        config=wanted["config"],
        sample=wanted["frequency" if by_frequency else "sample_period"],
        flags=_FREQUENCY if by_frequency else 0,
    )
    for cpu in _online(host):
        try:
            fd = _perf_event_open(attr, cpu)
        except OSError as error:
            raise BpfError(_no_event(wanted, error, host)) from None
        try:
            obj.keep(function.attach_perf_event(fd))
        except BaseException:
            os.close(fd)
            raise


def _perf_arguments(text: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    try:
        for part in text.split(","):
            key, _, value = part.partition("=")
            found[key] = int(value, 0)
    except ValueError:
        found = {}
    rates = found.keys() & {"frequency", "sample_period"}
    if not {"type", "config"} <= found.keys() <= _PERF_KEYS or len(rates) != 1:
        raise BpfError(f"got {text!r}, want type=T,config=C,frequency=F (or sample_period=N)")
    return found


def _perf_event_open(attr: _PerfEventAttr, cpu: int) -> int:
    """Every process on this CPU. Raises OSError."""
    number = _PERF_EVENT_OPEN.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(
        ctypes.c_long(number), ctypes.byref(attr), *map(ctypes.c_long, (-1, cpu, -1)),
        ctypes.c_ulong(_CLOSE_ON_EXEC),
    )  # fmt: skip
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(fd)


def _no_event(wanted: Mapping[str, int], error: OSError, host: HostFs) -> str:
    what = f"event type={wanted['type']},config={wanted['config']}"
    missing = (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.ENXIO)
    if wanted["type"] in _HARDWARE and error.errno in missing:
        if not hardware_counters(host):
            return (
                f"this machine has no hardware counters, so {what} cannot be counted (no PMU, as "
                "in many virtual machines)"
            )
        return f"this machine's hardware counters do not have {what}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"not permitted to count {what}: needs CAP_PERFMON, or kernel.perf_event_paranoid 0"
    return f"{what} cannot be counted: {error.strerror}"


def _online(host: HostFs) -> list[int]:
    """CPUs that run now, as "0-3,8"."""
    text = (host.sys / "devices/system/cpu/online").read_text().strip()
    cpus: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus
