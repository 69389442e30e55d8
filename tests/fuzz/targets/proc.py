"""Text of /proc and /sys: by each parser, and by what reads a machine's files as the agent does."""

from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

from exporter.config.agent import Job
from exporter.config.scalars import Regexp
from exporter.decoders.kallsyms import KernelSymbols
from exporter.decoders.majorminor import DiskName
from exporter.doctor.kernel_config import parse as parse_config
from exporter.ebpf.tracefs_btf import parse_format
from exporter.errors import KernmeshError
from exporter.host.cpu import parse_cpu_times
from exporter.host.disk import looks_like_a_disk, parse_diskstats
from exporter.host.filesystems import real_filesystems
from exporter.host.kubelet import parse_memory_stat
from exporter.host.load import parse_loadavg, parse_tasks
from exporter.host.memory import parse_meminfo, parse_memory, parse_reclaim
from exporter.host.mounts import cgroup_mounts
from exporter.host.net import parse_net_dev
from exporter.host.psi import parse_pressure
from exporter.hostfs import HostFs
from exporter.interference.sources.containers import parse_netstat
from exporter.testing import FakeClock, fake_host
from exporter.usage.jobs import Jobs
from exporter.usage.jobs_file import job_patterns
from tests.fuzz.ground import folder, of_machine
from tests.fuzz.mutate import spoil_text
from tests.fuzz.target import Case, Target

_PRESSURE = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=25\nfull avg10=0.00 total=5\n"
_MOUNTS = (
    b"41 31 0:38 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    b"42 31 0:39 /a /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    b"21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n22 1 8:2 / /a\\040b ro - xfs /dev/sdb rw\n"
)
_NETSTAT = b"TcpExt: ListenOverflows TCPAbortOnMemory\nTcpExt: 1 2\nIpExt: A\nIpExt: 1\n"
_KALLSYMS = (
    b"ffffffff81000000 T _text\nffffffff81000100 t do_one\t[mod]\nffffffff82000000 D jiffies\n"
)
_STAT = (
    b"7 (a b) c) S 1 1 1 0 -1 4194304 9 0 0 0 250 3 0 0 20 0 2 0 100 3133440 10 "
    b"18446744073709551615 0 0\n"
)
_FORMAT = (
    b"name: sys_enter\nID: 1\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;"
    b"\tsigned:0;\n\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;\n"
    b"\tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;\n"
    b"\tfield:__data_loc char[] name;\toffset:64;\tsize:4;\tsigned:1;\n"
)


def _text(parse: Callable[[str], object], data: bytes) -> None:
    """Who reads /proc as text refuses what is no UTF-8 before it is parsed (text.read_text)."""
    parse(data.decode("utf-8", "replace"))


def _case(
    name: str,
    parse: Callable[[str], object],
    seeds: Iterable[bytes] = (),
    places: Iterable[str] = (),
    refusals: tuple[type[Exception], ...] = (KernmeshError,),
) -> Case:
    return Case(
        name, partial(_text, parse), lambda: [*seeds, *of_machine(*places)], spoil_text, refusals
    )


def _disks(text: str) -> None:
    for name in parse_diskstats(text):
        looks_like_a_disk(name)


@cache
def _host() -> HostFs:
    return fake_host(folder() / "host", {"sys/fs/cgroup/cgroup.controllers": "cpu memory\n"})


def _put(place: str, data: bytes) -> HostFs:
    host = _host()
    path = host.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return host


def _mounts(data: bytes) -> None:
    host = _put("proc/1/mountinfo", data)
    cgroup_mounts(host)
    real_filesystems(host)


def _partitions(data: bytes) -> None:
    DiskName(_put("proc/partitions", data), FakeClock()).decode(b"\1\x08\0\0")


def _kallsyms(data: bytes) -> None:
    KernelSymbols(_put("proc/kallsyms", data), FakeClock()).name(0xFFFFFFFF81000101)


@cache
def _patterns() -> list[object]:
    return list(job_patterns([Job("web", Regexp("nginx"))], None))


def _job(data: bytes) -> None:
    """A process' stat and schedstat: both of the same bytes, since each is looked at alone."""
    _put("proc/7/cmdline", b"nginx\0worker\0")
    _put("proc/7/stat", data)
    host = _put("proc/7/task/7/schedstat", data)
    jobs = Jobs(host, _patterns(), FakeClock())  # type: ignore[arg-type] # JobPattern
    for _ in range(2):
        jobs.usage()


def _of_sys(*names: str) -> list[bytes]:
    return of_machine(*(str(path) for name in names for path in sorted(Path("/sys").glob(name))))


TARGET = Target(
    "proc",
    "/proc and /sys: stat, meminfo, vmstat, loadavg, diskstats, net/dev, netstat, pressure, "
    "mountinfo, partitions, kallsyms, <pid>/stat and schedstat, tracepoints' formats, kernel "
    "configuration",
    (
        Case(
            "pressure",
            parse_pressure,
            lambda: [_PRESSURE, *of_machine("/proc/pressure/cpu", "/proc/pressure/io")],
            spoil_text,
        ),
        _case("net/dev", parse_net_dev, places=("/proc/net/dev",)),
        _case("diskstats", _disks, places=("/proc/diskstats",)),
        _case("stat cpu", parse_cpu_times, places=("/proc/stat",)),
        _case("stat tasks", parse_tasks, places=("/proc/stat",)),
        _case("meminfo", parse_memory, places=("/proc/meminfo",)),
        _case("meminfo all", parse_meminfo, places=("/proc/meminfo",)),
        _case("vmstat", parse_reclaim, places=("/proc/vmstat",)),
        _case("loadavg", parse_loadavg, places=("/proc/loadavg",)),
        _case("netstat", parse_netstat, (_NETSTAT,), ("/proc/net/netstat",), (ValueError,)),
        _case(
            "memory.stat",
            lambda text: parse_memory_stat(text, ("anon", "file"), "memory.stat"),
            (b"anon 1\nfile 2\n",),
        ),
        _case("kernel config", parse_config, (b"CONFIG_BPF=y\n# CONFIG_X is not set\n",)),
        _case("format", parse_format, (_FORMAT,)),
        Case("mountinfo", _mounts, lambda: [_MOUNTS, *of_machine("/proc/1/mountinfo")], spoil_text),
        Case("partitions", _partitions, lambda: of_machine("/proc/partitions"), spoil_text),
        Case("kallsyms", _kallsyms, lambda: [_KALLSYMS], spoil_text),
        Case("jobs", _job, lambda: [_STAT, b"5 1000 7\n"], spoil_text),
    ),
)
