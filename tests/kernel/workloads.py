"""Things that really happen, each as often as it is told: what the programs have to count."""

import mmap
import os
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def eventually(what: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it comes true. For what the kernel does after it has answered."""
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            return False
        os.sched_yield()
    return True


def start_keepalive_timers(times: int) -> None:
    """Starts the timer of one TCP connection's keepalive so often (net/ipv4/tcp_timer.c:
    tcp_set_keepalive), and no other of its kind."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        for _ in range(times):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)


def sleep_in_receive(times: int) -> None:
    """Sleeps so often for a jiffy or a few, by schedule_timeout (kernel/time/sleep_timeout.c)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 1000))
        for _ in range(times):
            with pytest.raises(BlockingIOError):
                receiver.recv(1)


class LoopDisk:
    """A loop device over a file of zeroes. Its I/O goes around the page cache."""

    SIZE = 8 << 20
    BLOCK = 4096

    def __init__(self, device: str) -> None:
        self.device = device
        self.name = Path(device).name
        # include/linux/kdev_t.h: new_encode_dev() is what stat(2) gives, in 32 bits
        self.number = Path(device).stat().st_rdev & 0xFFFFFFFF

    def write_and_read(self, writes: int, reads: int, syncs: int = 0) -> None:
        block = mmap.mmap(-1, self.BLOCK)  # O_DIRECT wants page-aligned memory
        fd = os.open(self.device, os.O_RDWR | os.O_DIRECT)
        try:
            for number in range(writes):
                os.pwritev(fd, [block], number * self.BLOCK % self.SIZE)
            for number in range(reads):
                os.preadv(fd, [block], number * self.BLOCK % self.SIZE)
            for _ in range(syncs):
                os.fsync(fd)
        finally:
            os.close(fd)

    def stat(self) -> dict[str, int]:
        """/proc/diskstats: completed requests and the ms that they took."""
        for line in Path("/proc/diskstats").read_text().splitlines():
            fields = line.split()
            if fields[2] == self.name:
                values = [int(field) for field in fields[3:]]
                return {
                    "reads": values[0],
                    "read_ms": values[3],
                    "writes": values[4],
                    "write_ms": values[7],
                    "flushes": values[15],
                }
        raise AssertionError(f"/proc/diskstats has no {self.name}")


@contextmanager
def loop_disk(folder: Path) -> Iterator[LoopDisk]:
    """A device over a file in the folder, gone afterwards."""
    file = folder / "disk"
    with file.open("wb") as out:
        out.truncate(LoopDisk.SIZE)
    made = subprocess.run(
        ["losetup", "--find", "--show", file], check=True, capture_output=True, text=True
    )
    device = made.stdout.strip()
    try:
        yield LoopDisk(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


class MemoryCgroup:
    """A memory cgroup with a limit, v1 or v2."""

    def __init__(self, limit: int) -> None:
        v1 = Path("/sys/fs/cgroup/memory")
        self.path = (v1 if v1.is_dir() else Path("/sys/fs/cgroup")) / f"kernmesh-{uuid.uuid4()}"
        self.path.mkdir()
        self._v1 = v1.is_dir()
        limit_file = "memory.limit_in_bytes" if self._v1 else "memory.max"
        (self.path / limit_file).write_text(str(limit))

    @property
    def id(self) -> int:
        """kernfs gives the inode number as id where that has 64 bits (fs/kernfs/dir.c)."""
        return self.path.stat().st_ino

    def kills(self) -> int:
        file = "memory.oom_control" if self._v1 else "memory.events"
        for line in (self.path / file).read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        raise AssertionError(f"{file} says nothing of oom_kill")

    def run_out(self) -> int:
        """Has a new process eat memory here until it is killed; gives its exit status."""
        eat = "import sys; open(sys.argv[1], 'w').write('0'); x = b'x' * (256 << 20)"
        procs = self.path / "cgroup.procs"
        return subprocess.run([sys.executable, "-S", "-c", eat, procs], check=False).returncode

    def remove(self) -> None:
        assert eventually(self._try_remove)

    def _try_remove(self) -> bool:
        try:
            self.path.rmdir()
        except OSError:
            return False
        return True


@contextmanager
def memory_cgroup(limit: int = 24 << 20) -> Iterator[MemoryCgroup]:
    """A cgroup with this limit, gone afterwards."""
    made = MemoryCgroup(limit)
    try:
        yield made
    finally:
        made.remove()
