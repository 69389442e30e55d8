"""Load for each program, and what user space knows it to have made.

One table, by program name; what is not in it gets `everything`. To add a program's own load, write
a function and name it in LOADS; the first sentence of its docstring stands in docs/programs.md.
Each takes at most a few seconds of an emulated CPU. Where it runs is a Ground: an emulated machine
of its own, or this one.
"""

import ctypes
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

from tests.programs.ground import MIB, Ground, Group

BLOCK = 4096


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


Load = Callable[[Ground], Sequence[Want]]


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def forget(file: Path) -> None:
    """Its pages leave the page cache, if they are written back."""
    fd = os.open(file, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def child(work: Callable[[], object], group: Group | None = None) -> int:
    """Forks, has the child work inside the group, and gives its wait status."""
    return os.waitpid(spawn(work, group), 0)[1]


def spawn(work: Callable[[], object], group: Group | None = None) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if group is not None:
                group.join()
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


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


def start_timers(_: Ground) -> Sequence[Want]:
    """Switches the keepalive timer of a TCP connection on and off, 200 times, and sleeps a bit."""
    # net/ipv4/tcp_timer.c: tcp_set_keepalive
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        for _turn in range(200):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    for _turn in range(20):
        time.sleep(0.001)
    return [Want(labels={"function": "tcp_keepalive_timer"}, at_least=200)]


def read_and_write_disk(ground: Ground) -> Sequence[Want]:
    """Writes 100 blocks and reads 50 around the page cache, on a loop device."""
    block = mmap.mmap(-1, BLOCK)  # O_DIRECT wants page-aligned memory
    file = os.open(ground.mount / "direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    for number in range(100):
        os.pwritev(file, [block], number % 50 * BLOCK)
    for number in range(50):
        os.preadv(file, [block], number * BLOCK)
    os.fsync(file)
    os.close(file)
    return [
        Want("bio_latency_seconds_count", {"device": ground.disk, "operation": "write"}, 100),
        Want("bio_latency_seconds_count", {"device": ground.disk, "operation": "read"}, 50),
    ]


def run_out_of_memory(ground: Ground) -> Sequence[Want]:
    """Has a process eat more memory than its cgroup's limit; on an emulated machine another takes
    all that there is."""
    small = ground.group("small", memory=16 * MIB)
    status = child(lambda: eat(64 * MIB), small)
    assert status == signal.SIGKILL, f"the cgroup's process ended with {status}, not killed"
    wants = [
        Want("oom_kills_total", {"cgroup_path": str(small.memory)}, 1),
        Want("oom_kills_by_scope_total", {"scope": "cgroup"}, 1),
    ]
    if not ground.own_machine:
        return wants
    large = ground.group("large")
    status = child(lambda: eat(1 << 40), large)
    assert status == signal.SIGKILL, f"the machine's process ended with {status}, not killed"
    return [
        *wants,
        Want("oom_kills_total", {"cgroup_path": str(large.memory)}, 1),
        Want("oom_kills_by_scope_total", {"scope": "global"}, 1),
    ]


def fork_processes(_: Ground) -> Sequence[Want]:
    """Makes ten short processes."""
    for _turn in range(10):
        child(lambda: None)
    return [Want()]


def connect(times: int) -> int:
    """So many connections to a listener, each accepted and talked over; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(times):
            with socket.create_connection(server.getsockname()) as here:
                there, _address = server.accept()
                with there:
                    here.sendall(b"x" * 10000)
                    there.recv(10000)
        return int(server.getsockname()[1])


def accept_connections(_: Ground) -> Sequence[Want]:
    """Makes and accepts 20 TCP connections."""
    return [Want("accept_latency_seconds_count", {"port": str(connect(20))}, 20)]


def queue_connections(_: Ground) -> Sequence[Want]:
    """Makes 20 TCP connections."""
    connect(20)
    return [Want("tcp_syn_backlog_count", at_least=20)]


def lose_packets(_: Ground) -> Sequence[Want]:
    """Connects six times to a listener whose queue is full, so that SYNs are sent again."""
    before = retransmitted()
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _turn in range(6):
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


def cut_windows(_: Ground) -> Sequence[Want]:
    """Makes the receive buffers of five TCP connections too small for what they hold."""
    # the next segment makes the kernel cut its window to two segments (net/ipv4/tcp_input.c:
    # tcp_clamp_window)
    with socket.create_server(("127.0.0.1", 0)) as server:
        # the loopback's own are so large that two of them are no limit
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        for _turn in range(5):
            with socket.create_connection(server.getsockname()) as here:
                there, _address = server.accept()
                with there:
                    here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    here.sendall(b"x" * 30000)
                    there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                    here.setblocking(False)  # the window may close before all is sent
                    with suppress(BlockingIOError):
                        for _segment in range(40):
                            here.send(b"x" * 500)
    return [
        Want("tcp_window_clamps_total", at_least=5),
        Want("tcp_congestion_state_seconds_total", {"state": "open"}, 0.001),
    ]


def reclaim_memory(ground: Ground) -> Sequence[Want]:
    """Reads a file larger than the cgroup it is read in: clean pages go, and come back."""
    large = ground.mount / "large"
    large.write_bytes(b"x" * (16 * MIB))
    forget(large)  # else its pages stay with the cgroup that wrote them

    def read() -> None:
        for _ in range(3):
            with large.open("rb", buffering=0) as file:
                while file.read(MIB // 4):
                    pass

    status = child(read, ground.group("reclaim", memory=8 * MIB))
    assert status == 0, f"the reading process ended with {status}"
    return [Want()]


def use_page_cache(ground: Ground) -> Sequence[Want]:
    """Writes a file of 1 MiB, drops it from the page cache, and reads it twice."""
    file = ground.mount / "cached"
    file.write_bytes(b"x" * MIB)
    forget(file)
    file.read_bytes()
    file.read_bytes()
    operations = ("add_to_page_cache_lru", "filemap_remove_folio", "folio_account_dirtied")
    return [Want("page_cache_ops_total", {"operation": operation}) for operation in operations]


class Competed(NamedTuple):
    """How often all were switched away, and of these against their will, by their own account."""

    switches: int
    preemptions: int


def compete(ground: Ground) -> Competed:
    """More busy processes than CPUs, in two cgroups, moved from CPU to CPU."""
    groups = (ground.group("busy"), ground.group("rival")) * (os.cpu_count() or 1)
    pids = [spawn(lambda: spin(1.0), each) for each in groups]
    for turn in range(20):
        for pid in pids:
            os.sched_setaffinity(pid, {turn % (os.cpu_count() or 1)})
        time.sleep(0.02)
    used = [os.wait4(pid, 0)[2] for pid in pids]
    preemptions = sum(each.ru_nivcsw for each in used)
    return Competed(preemptions + sum(each.ru_nvcsw for each in used), preemptions)


def be_moved(ground: Ground) -> Sequence[Want]:
    """Moves busy processes of two cgroups from CPU to CPU, 20 times."""
    compete(ground)
    return [
        Want("cgroup_sched_migrations_total", {"cgroup": str(ground.group(name).cpu)}, 10)
        for name in ("busy", "rival")
    ]


def wait_for_cpu(ground: Ground) -> Sequence[Want]:
    """Has twice as many processes spin for a second as there are CPUs."""
    # the kernel does not trace a few switches, and who was switched away may have had nothing to do
    switches = int(0.9 * compete(ground).switches)
    return [Want("runq_latency_seconds_count", at_least=switches)]


def be_preempted(ground: Ground) -> Sequence[Want]:
    """Has twice as many processes spin for a second as there are CPUs."""
    return [Want("preemptions_total", at_least=int(0.9 * compete(ground).preemptions))]


def be_busy(_: Ground) -> Sequence[Want]:
    """Spins for half a second."""
    spin(0.5)
    return [Want()]


def be_throttled(ground: Ground) -> Sequence[Want]:
    """Has a process spin for a second on one CPU, in a cgroup that may use a tenth of it."""

    def spin_on_one_cpu() -> None:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        spin(1.0)

    throttled = ground.group("throttled", cpu=(5000, 50000))
    before = times_throttled(throttled)
    child(spin_on_one_cpu, throttled)
    # it counts periods, of which a throttling may last several; the last may not have ended yet
    times = (times_throttled(throttled) - before) // 2 - 1
    return [Want("cfs_throttling_seconds_count", {"cgroup": str(throttled.cpu)}, times)]


def times_throttled(group: Group) -> int:
    lines = (group.cpu / "cpu.stat").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("nr_throttled")))


def allocate(ground: Ground) -> Sequence[Want]:
    """Calls malloc() of the C library a hundred times, in a cgroup."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p

    def allocate_and_free() -> None:
        for _ in range(100):
            libc.free(ctypes.c_void_p(libc.malloc(100)))

    group = ground.group("allocating")
    child(allocate_and_free, group)
    return [Want("libc_malloc_calls_total", {"cgroup": str(group.cpu)}, 100)]


def import_modules(_: Ground) -> Sequence[Want]:
    """Imports two modules in Debian's own Python, which has the probes."""
    run("/usr/bin/python3", "-S", "-c", "import bisect, colorsys")
    return [Want(labels={"module": module}) for module in ("bisect", "colorsys")]


def fail_syscalls(_: Ground) -> Sequence[Want]:
    """Asks a hundred times for a file that is not there."""
    for _turn in range(100):
        with suppress(FileNotFoundError):
            Path("/nowhere").stat()
    return [
        Want("syscalls_total", at_least=100),
        Want("syscall_errors_total", {"errno": "ENOENT"}, 100),
    ]


def reclaim_directly(ground: Ground) -> Sequence[Want]:
    """Reads a file larger than its cgroup's limit; takes all memory of an emulated machine."""
    if not ground.own_machine:
        return reclaim_memory(ground)
    child(lambda: eat(1 << 40))
    return [Want()]


def reclaim_both_ways(ground: Ground) -> Sequence[Want]:
    """Reads a file larger than its cgroup's limit; then takes all memory of an emulated machine."""
    reclaim_memory(ground)
    return reclaim_directly(ground)


def everything(ground: Ground) -> Sequence[Want]:
    """Does what most programs see something of."""
    for load in (
        start_timers,
        read_and_write_disk,
        fork_processes,
        accept_connections,
        use_page_cache,
        fail_syscalls,
        be_moved,
        reclaim_memory,
    ):
        load(ground)
    return [Want()]


def nothing(_: Ground) -> Sequence[Want]:
    """Nothing: the program tells what there is."""
    return [Want()]


def udp_echo(_: Ground) -> Sequence[Want]:
    """Sends 50 datagrams to itself, each received before the next."""
    with socket.socket(type=socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0))
        for _turn in range(50):
            here.sendto(b"x", here.getsockname())
            here.recv(1)
    kind = {"kind": "NET_RX_SOFTIRQ"}
    return [Want("softirq_raised_total", kind, 50), Want("softirq_serviced_total", kind, 50)]


LOADS: Mapping[str, Load] = {
    "timers": start_timers,
    "raw-tracepoints": start_timers,
    "biolatency": read_and_write_disk,
    "oomkill": run_out_of_memory,
    "uprobe": allocate,
    "usdt": import_modules,
    "shrinklat": reclaim_both_ways,
    "accept-latency": accept_connections,
    "bpf-jit": nothing,
    "cachestat": use_page_cache,
    "cgroup": be_moved,
    "llcstat": be_busy,
    "cpi": be_busy,
    "tcp-syn-backlog": queue_connections,
    "tcp-window-clamps": cut_windows,
    "cfs-throttling": be_throttled,
    "tcp-retransmit": lose_packets,
    "softirq-latency": udp_echo,
    "syscalls": fail_syscalls,
    "runqlat": wait_for_cpu,
    "preemptions": be_preempted,
    "direct-reclaim": reclaim_directly,
}


def load_for(program: str) -> Load:
    return LOADS.get(program, everything)
