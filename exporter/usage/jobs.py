"""Online jobs on bare hosts: processes grouped by their command lines, with CPU, delay, memory.

The rule: a job's totals count from the agent's start and never fall because a process or a thread
ends. A process belongs to the first job whose expression is found in its command line.

/proc/<pid>/stat: fs/proc/array.c do_task_stat(); its times are the whole thread group's, ended
threads included. /proc/<pid>/task/<tid>/schedstat: fs/proc/base.c proc_pid_schedstat(), one
thread's time on CPUs, its time waiting for one (ns), and how often it ran.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.errors import NoData
from exporter.host.open_files import read_once
from exporter.hostfs import HostFs
from exporter.metrics.table import FastFamily, Shape
from exporter.usage.jobs_file import JobPattern
from exporter.usage.series import Kind, Series

# A process that was no job's may have become one by execve: it is asked again at its second
# sight, and then once in so many passes.
_ASK_AGAIN_PASSES = 6
_MOST_COMMAND_BYTES = 65_536

_MEASURES: tuple[tuple[str, Kind, str, str], ...] = (
    ("cpu_seconds", "counter", "cpu_usage_seconds_total", "Time on CPUs since the agent began."),
    (
        "run_delay_seconds",
        "counter",
        "run_delay_seconds_total",
        "Time that its threads waited for a CPU since the agent began.",
    ),
    (
        "memory_rss_bytes",
        "gauge",
        "memory_rss_bytes",
        "Resident memory of its processes; what they share is in each of them.",
    ),
    ("processes", "gauge", "processes", "Processes."),
    ("threads", "gauge", "threads", "Threads."),
)
_SHAPES = tuple(
    Shape(kind, f"kernmesh_job_{name}", text, ["job"]) for _, kind, name, text in _MEASURES
)


class JobUsage(NamedTuple):
    """In the order of _MEASURES. `run_delay_seconds` None: this kernel has no SCHED_INFO."""

    cpu_seconds: float
    run_delay_seconds: float | None
    memory_rss_bytes: float
    processes: int
    threads: int


class _Process:
    """One process of a job. `ticks` and `delays` (ns by thread) are as they were last read."""

    __slots__ = ("began", "delays", "ticks")

    def __init__(self, began: int) -> None:
        self.began = began
        self.ticks = 0
        self.delays: dict[str, int] = {}


class _Stat(NamedTuple):
    alive: bool
    ticks: int
    threads: int
    began: int
    pages: int


class _Job:
    def __init__(self, pattern: JobPattern) -> None:
        self.pattern = pattern
        self.series = tuple(
            Series(f"job/{pattern.name}.{measure}", kind) for measure, kind, *_ in _MEASURES
        )
        self.processes: dict[int, _Process] = {}
        self.ticks = 0
        self.delay_ns = 0


class Jobs:
    """A source of the store and a collector. Any thread may call."""

    def __init__(self, fs: HostFs, patterns: Sequence[JobPattern], clock: Clock) -> None:
        self._proc = str(fs.proc)
        self._clock = clock
        self._jobs = [_Job(pattern) for pattern in patterns]
        self._turn = threading.Lock()
        self._pass = 0
        self._strangers: dict[int, bool] = {}  # of no job; whether it was asked twice
        self._owners: dict[int, _Job] = {}
        self._hertz = os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._has_delay: bool | None = None
        self._own = os.getpid() if fs.proc == Path("/proc") else -1

    def usage(self) -> dict[str, JobUsage]:
        """By job, all that are configured. Raises OSError where /proc cannot be listed."""
        with self._turn:
            first = self._pass == 0
            self._pass += 1
            pids = [int(name) for name in os.listdir(self._proc) if name.isdecimal()]  # noqa: PTH208
            self._sort(pids)
            return {job.pattern.name: self._count(job, first) for job in self._jobs}

    def processes(self) -> dict[str, list[tuple[int, int]]]:
        """By job, as they were at the last reading: process and when it began, in the kernel's
        ticks since boot (field 22 of its stat)."""
        with self._turn:
            return {
                job.pattern.name: [(pid, each.began) for pid, each in job.processes.items()]
                for job in self._jobs
            }

    def _sort(self, pids: Sequence[int]) -> None:
        """Finds out whose the new ones are, and forgets those that are gone."""
        present = set(pids)
        self._strangers = {pid: twice for pid, twice in self._strangers.items() if pid in present}
        for pid in self._owners.keys() - present:
            self._owners.pop(pid).processes.pop(pid, None)
        for pid in pids:
            if pid in self._owners or pid == self._own:
                continue
            if self._strangers.get(pid) and (self._pass + pid) % _ASK_AGAIN_PASSES:
                continue
            job = self._owner(pid)
            if job is None:
                self._strangers[pid] = pid in self._strangers
            else:
                self._strangers.pop(pid, None)
                self._owners[pid] = job

    def _owner(self, pid: int) -> _Job | None:
        text = read_once(f"{self._proc}/{pid}/cmdline")
        if not text:  # a kernel's thread, or gone
            return None
        shown = text[:_MOST_COMMAND_BYTES].rstrip(b"\0").replace(b"\0", b" ")
        command = shown.decode("utf-8", "replace")
        return next((job for job in self._jobs if job.pattern.command.search(command)), None)

    def _count(self, job: _Job, first: bool) -> JobUsage:
        pages = processes = threads = 0
        for pid in [pid for pid, owner in self._owners.items() if owner is job]:
            stat = self._stat(pid)
            known = job.processes.get(pid)
            if stat is None or (known is not None and known.began != stat.began):
                # gone, or another process of the same number: whose, the next pass will ask
                del self._owners[pid]
                job.processes.pop(pid, None)
                continue
            if known is None:
                known = job.processes[pid] = _Process(stat.began)
                if first:  # what was before the agent is not counted
                    known.ticks = stat.ticks
            job.ticks += max(stat.ticks - known.ticks, 0)
            known.ticks = max(stat.ticks, known.ticks)
            self._count_delay(job, known, pid, first)
            if stat.alive:  # a zombie has its times still, and nothing else
                pages += stat.pages
                processes += 1
                threads += stat.threads
        return JobUsage(
            cpu_seconds=job.ticks / self._hertz,
            run_delay_seconds=None if self._has_delay is False else job.delay_ns / 1e9,
            memory_rss_bytes=float(pages * self._page),
            processes=processes,
            threads=threads,
        )

    def _count_delay(self, job: _Job, process: _Process, pid: int, first: bool) -> None:
        now = {}
        for thread, delay in self._delays(pid):
            now[thread] = delay
            before = process.delays.get(thread, delay if first else 0)
            job.delay_ns += delay - before if delay >= before else delay
        process.delays = now

    def _delays(self, pid: int) -> Iterator[tuple[str, int]]:
        folder = f"{self._proc}/{pid}/task"
        try:
            threads = os.listdir(folder)  # noqa: PTH208
        except OSError:
            return
        for thread in threads:
            words = (read_once(f"{folder}/{thread}/schedstat") or b"").split()
            if len(words) == 3 and words[1].isdigit():
                self._has_delay = True
                yield thread, int(words[1])
            elif self._has_delay is None and os.path.isdir(f"{folder}/{thread}"):  # noqa: PTH112
                self._has_delay = False

    def _stat(self, pid: int) -> _Stat | None:
        text = read_once(f"{self._proc}/{pid}/stat")
        if not text:
            return None
        words = text[text.rfind(b")") + 2 :].split()  # a command's name may hold blanks
        if len(words) < 22:
            return None
        try:
            times, threads = int(words[11]) + int(words[12]), int(words[17])
            return _Stat(words[0] not in b"ZX", times, threads, int(words[19]), int(words[21]))
        except ValueError:
            return None

    def read(self, now: float) -> Mapping[Series, float]:
        """For the store: job/<name>.<measure>."""
        found = self.usage()
        return {
            series: value
            for job in self._jobs
            for series, value in zip(job.series, found[job.pattern.name], strict=True)
            if value is not None
        }

    def collect(self) -> Iterable[Metric]:
        if not self._jobs:
            raise NoData("no jobs are configured (usage.jobs, usage.jobs_file)")
        found = self.usage()
        for index, shape in enumerate(_SHAPES):
            rows = {
                (name,): value
                for name, usage in found.items()
                if (value := usage[index]) is not None
            }
            if rows:
                yield FastFamily.of(shape, rows)
