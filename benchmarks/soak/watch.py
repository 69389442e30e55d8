"""What a process and its cgroup hold right now. None where that cannot be read."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.soak.ground import Ground

BPF_KINDS = ("map", "prog", "link")


class Held(NamedTuple):
    """Of one process. `bpf` by kind: the ids of its objects, as its open files tell them
    (/proc/PID/fdinfo, kernel/bpf/syscall.c: bpf_map_show_fdinfo and its like)."""

    rss_mb: float
    anonymous_mb: float
    threads: int
    fds: int
    bpf: dict[str, frozenset[int]]


class Charged(NamedTuple):
    """Of one cgroup, in MB: all that is charged, and that less what the kernel could have back at
    once (inactive files), as kubelet reckons its working set. `killed`: processes that the limit
    has ended."""

    usage_mb: float
    working_mb: float
    killed: int


def held(pid: int) -> Held | None:
    base = Path(f"/proc/{pid}")
    try:
        status = _words((base / "status").read_text(), ":")
        fds = list((base / "fd").iterdir())
    except OSError:
        return None
    bpf: dict[str, set[int]] = {kind: set() for kind in BPF_KINDS}
    for fd in fds:
        with suppress(OSError):
            if "bpf" in str(fd.readlink()):
                for key, value in _words((base / "fdinfo" / fd.name).read_text(), ":").items():
                    kind = key.removesuffix("_id")
                    if kind in bpf and key.endswith("_id"):
                        bpf[kind].add(int(value.split()[0]))
    try:
        return Held(
            int(status["VmRSS"].split()[0]) / 1000,
            int(status["RssAnon"].split()[0]) / 1000,
            int(status["Threads"]),
            len(fds),
            {kind: frozenset(ids) for kind, ids in bpf.items()},
        )
    except KeyError:  # it has just ended
        return None


def _words(text: str, separator: str) -> dict[str, str]:
    pairs = (line.partition(separator) for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def charged(ground: Ground, path: str) -> Charged | None:
    cgroups = ground.cgroups
    v1 = "memory" in cgroups.places
    usage, inactive, killed = (
        ("memory.usage_in_bytes", "total_inactive_file", "memory.oom_control")
        if v1
        else ("memory.current", "inactive_file", "memory.events")
    )
    try:
        used = int(cgroups.read("memory", path, usage))
        stat = _words(cgroups.read("memory", path, "memory.stat"), " ")
        events = _words(cgroups.read("memory", path, killed), " ")
    except OSError:
        return None
    working = used - int(stat.get(inactive, 0))
    return Charged(used / 1e6, working / 1e6, int(events.get("oom_kill", 0)))


def limit_memory(ground: Ground, path: str, most: int) -> None:
    """Raises OSError."""
    ground.cgroups.set_memory_limit(path, most)


def peak_mb(ground: Ground, path: str) -> float | None:
    """The highest that was ever charged, where the kernel keeps it (v1; v2 since Linux 5.19)."""
    file = "memory.max_usage_in_bytes" if "memory" in ground.cgroups.places else "memory.peak"
    try:
        return int(ground.cgroups.read("memory", path, file)) / 1e6
    except OSError:
        return None


def processes(ground: Ground, path: str) -> list[int]:
    return [int(word) for word in ground.cgroups.read("pids", path, "cgroup.procs").split()]
