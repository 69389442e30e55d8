"""Load for each program inside a guest, and what user space knows it to have made.

One table, by program name; what is not in it gets `everything`. To add a program's own load, write
a function and name it in LOADS. Each takes at most a few seconds of an emulated CPU.
"""

import ctypes
import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

CGROUPS = Path("/sys/fs/cgroup")
SCRATCH = Path("/scratch")
DISK = "/dev/loop0"
MOUNT = Path("/scratch/mounted")
BLOCK = 4096
MIB = 1 << 20
_LOOP_SET_FD = 0x4C00  # include/uapi/linux/loop.h


class Want(NamedTuple):
    """Samples of `metric` (without prefix, "_count" for a histogram) with these labels must have
    gone up by `at_least` in all, or be that much where they are gauges; "" is any metric of the
    program."""

    metric: str = ""
    labels: Mapping[str, str] = {}
    at_least: float = 1

    def __str__(self) -> str:
        labels = ",".join(f"{name}={value}" for name, value in self.labels.items())
        return f"{self.metric or 'events'}{{{labels}}} >= {self.at_least:g}"


Load = Callable[[], Sequence[Want]]


def prepare() -> None:
    """Once per guest: a disk with real requests, memory cgroups, and a root that OOM spares."""
    Path("/proc/self/oom_score_adj").write_text("-1000")
    (CGROUPS / "cgroup.subtree_control").write_text("+memory +cpu +pids")
    with suppress(OSError):
        (CGROUPS / "cgroup.subtree_control").write_text("+io")
    file = os.open(SCRATCH / "disk", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, 24 * MIB)
    disk = os.open(DISK, os.O_RDWR)
    fcntl.ioctl(disk, _LOOP_SET_FD, file)
    os.close(disk)
    os.close(file)
    run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", DISK)
    MOUNT.mkdir()
    run("busybox", "mount", "-t", "ext4", DISK, str(MOUNT))


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def cgroup(name: str, **limits: str) -> Path:
    """A cgroup with limits (memory_max="…" is memory.max). It stays, so that whoever reads the
    metrics can still name it."""
    folder = CGROUPS / name
    folder.mkdir(exist_ok=True)
    for limit, value in limits.items():
        (folder / limit.replace("_", ".", 1)).write_text(value)
    return folder


def child(work: Callable[[], object], *cgroups: Path) -> int:
    """Forks, has the child work inside the cgroups, and gives its wait status."""
    return ended(spawn(work, *cgroups))


def spawn(work: Callable[[], object], *cgroups: Path) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for folder in cgroups:
                (folder / "cgroup.procs").write_text("0")
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def ended(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


def eat(limit: int) -> list[mmap.mmap]:
    """Memory that is really there, up to `limit` bytes."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    eaten = []
    for _ in range(limit // (4 * MIB)):
        eaten.append(mmap.mmap(-1, 4 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        eaten[-1].write(b"x" * (4 * MIB))
    return eaten


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def start_timers() -> Sequence[Want]:
    """Starts a TCP connection's keepalive timer (net/ipv4/tcp_timer.c: tcp_set_keepalive)."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        for _ in range(200):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    for _ in range(20):
        time.sleep(0.001)
    return [Want(labels={"function": "tcp_keepalive_timer"}, at_least=200)]


def read_and_write_disk() -> Sequence[Want]:
    block = mmap.mmap(-1, BLOCK)  # O_DIRECT wants page-aligned memory
    file = os.open(MOUNT / "direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    for number in range(100):
        os.pwritev(file, [block], number % 50 * BLOCK)
    for number in range(50):
        os.preadv(file, [block], number * BLOCK)
    os.fsync(file)
    os.close(file)
    return [
        Want("bio_latency_seconds_count", {"device": "loop0", "operation": "write"}, 100),
        Want("bio_latency_seconds_count", {"device": "loop0", "operation": "read"}, 50),
    ]


def run_out_of_memory() -> Sequence[Want]:
    """A kill for a cgroup's limit, then one because the whole machine has no memory left."""
    status = child(lambda: eat(64 * MIB), cgroup("small", memory_max=str(16 * MIB)))
    assert status == signal.SIGKILL, f"the cgroup's process ended with {status}, not killed"
    status = child(lambda: eat(1 << 40), cgroup("large"))
    assert status == signal.SIGKILL, f"the machine's process ended with {status}, not killed"
    return [
        Want("oom_kills_total", {"cgroup_path": "/sys/fs/cgroup/small"}, 1),
        Want("oom_kills_total", {"cgroup_path": "/sys/fs/cgroup/large"}, 1),
        Want("oom_kills_by_scope_total", {"scope": "cgroup"}, 1),
        Want("oom_kills_by_scope_total", {"scope": "global"}, 1),
    ]


def fork_and_exec() -> Sequence[Want]:
    for _ in range(10):
        run("busybox", "true")
    return [Want()]


def talk_tcp() -> Sequence[Want]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(20):
            with socket.create_connection(server.getsockname()) as here:
                there, _ = server.accept()
                with there:
                    here.sendall(b"x" * 10000)
                    there.recv(10000)
    return [Want(at_least=20)]


def lose_packets() -> Sequence[Want]:
    """SYNs to a listener whose queue is full are dropped, and sent again after a second."""
    before = retransmitted()
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(6):
            connection = stack.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(server.getsockname())
        time.sleep(2.5)
        sent_again = retransmitted() - before
    assert sent_again > 0, "nothing was sent again"
    return [Want("tcp_retransmits_total", at_least=sent_again)]


def retransmitted() -> int:
    names, values = (
        line.split()
        for line in Path("/proc/net/snmp").read_text().splitlines()
        if line.startswith("Tcp:")
    )
    return int(values[names.index("RetransSegs")])


def cut_windows() -> Sequence[Want]:
    """A receiver whose buffer becomes too small for what it has not read yet: the next segment
    makes the kernel cut its window to two segments (net/ipv4/tcp_input.c: tcp_clamp_window)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        # the loopback's own are so large that two of them are no limit
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        for _ in range(5):
            with socket.create_connection(server.getsockname()) as here:
                there, _ = server.accept()
                with there:
                    here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    here.sendall(b"x" * 30000)
                    there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                    here.setblocking(False)  # the window may close before all is sent
                    with suppress(BlockingIOError):
                        for _ in range(40):
                            here.send(b"x" * 500)
    return [
        Want("tcp_window_clamps_total", at_least=5),
        Want("tcp_congestion_state_seconds_total", {"state": "open"}, 0.001),
    ]


def reclaim_memory() -> Sequence[Want]:
    """Reads a file larger than the cgroup it is read in: clean pages go, and come back."""
    (MOUNT / "large").write_bytes(b"x" * (16 * MIB))
    os.sync()
    # else its pages stay with the cgroup that wrote them
    Path("/proc/sys/vm/drop_caches").write_text("1")

    def read() -> None:
        for _ in range(3):
            with (MOUNT / "large").open("rb", buffering=0) as file:
                while file.read(MIB // 4):
                    pass

    status = child(read, cgroup("reclaim", memory_max=str(8 * MIB)))
    assert status == 0, f"the reading process ended with {status}"
    return [Want()]


def use_page_cache() -> Sequence[Want]:
    file = MOUNT / "cached"
    file.write_bytes(b"x" * MIB)
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")
    file.read_bytes()
    file.read_bytes()
    return [Want()]


def compete_for_cpu() -> Sequence[Want]:
    """More busy processes than CPUs, in two cgroups, moved between CPUs."""
    pids = [spawn(lambda: spin(1.0), each) for each in (cgroup("busy"), cgroup("rival")) * 2]
    for turn in range(20):
        for pid in pids:
            os.sched_setaffinity(pid, {turn % (os.cpu_count() or 1)})
        time.sleep(0.02)
    for pid in pids:
        ended(pid)
    return [Want()]


def be_busy() -> Sequence[Want]:
    spin(0.5)
    return [Want()]


def be_throttled() -> Sequence[Want]:
    throttled = cgroup("throttled", cpu_max="5000 50000")
    before = times_throttled(throttled)
    child(lambda: spin(1.0), throttled)
    # the last one may not have ended yet, and on two CPUs each is throttled by itself
    return [Want(at_least=(times_throttled(throttled) - before) // 2)]


def times_throttled(folder: Path) -> int:
    lines = (folder / "cpu.stat").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("nr_throttled")))


def allocate() -> Sequence[Want]:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    for _ in range(100):
        libc.free(ctypes.c_void_p(libc.malloc(100)))
    return [Want(at_least=100)]


def import_modules() -> Sequence[Want]:
    """In Debian's own Python, which has the probes."""
    run("/usr/bin/python3", "-S", "-c", "import bisect, colorsys")
    return [Want(labels={"module": module}) for module in ("bisect", "colorsys")]


def fail_syscalls() -> Sequence[Want]:
    for _ in range(100):
        with suppress(FileNotFoundError):
            Path("/nowhere").stat()
    return [
        Want("syscalls_total", at_least=100),
        Want("syscall_errors_total", {"errno": "ENOENT"}, 100),
    ]


def reclaim_directly() -> Sequence[Want]:
    """Leaves the whole machine so little memory that allocations must reclaim for themselves."""
    child(lambda: eat(1 << 40))
    return [Want()]


def reclaim_both_ways() -> Sequence[Want]:
    reclaim_memory()
    return reclaim_directly()


def everything() -> Sequence[Want]:
    """What most programs see something of."""
    for load in (
        start_timers,
        read_and_write_disk,
        fork_and_exec,
        talk_tcp,
        use_page_cache,
        fail_syscalls,
        compete_for_cpu,
        reclaim_memory,
    ):
        load()
    return [Want()]


def nothing() -> Sequence[Want]:
    """For what is seen without doing anything: a snapshot of the system."""
    return [Want()]


def udp_echo() -> Sequence[Want]:
    address = ("127.0.0.1", 0)
    with socket.socket(type=socket.SOCK_DGRAM) as here:
        here.bind(address)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0))
        for _ in range(50):
            here.sendto(b"x", here.getsockname())
            here.recv(1)
    return [Want()]


LOADS: Mapping[str, Load] = {
    "timers": start_timers,
    "raw-tracepoints": start_timers,
    "biolatency": read_and_write_disk,
    "oomkill": run_out_of_memory,
    "uprobe": allocate,
    "usdt": import_modules,
    "shrinklat": reclaim_both_ways,
    "accept-latency": talk_tcp,
    "bpf-jit": nothing,
    "cachestat": use_page_cache,
    "cgroup": compete_for_cpu,
    "llcstat": be_busy,
    "tcp-syn-backlog": talk_tcp,
    "tcp-window-clamps": cut_windows,
    "cfs-throttling": be_throttled,
    "tcp-retransmit": lose_packets,
    "softirq-latency": udp_echo,
    "syscalls": fail_syscalls,
    "runqlat": compete_for_cpu,
    "preemptions": compete_for_cpu,
    "direct-reclaim": reclaim_directly,
}


def load_for(program: str) -> Load:
    return LOADS.get(program, everything)
