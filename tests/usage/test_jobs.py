"""Jobs of bare hosts: processes by their command lines, totals that never fall."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.clock import SystemClock
from exporter.config.agent import Job
from exporter.config.scalars import Regexp
from exporter.errors import NoData
from exporter.hostfs import HostFs
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.testing import FakeClock, fake_host
from exporter.usage.jobs import Jobs, JobUsage
from exporter.usage.jobs_file import job_patterns
from tests.kernel.tasks import ending, python_task

PAGE = os.sysconf("SC_PAGE_SIZE")
HERTZ = os.sysconf("SC_CLK_TCK")


def jobs_of(host: HostFs, **commands: str) -> Jobs:
    wanted = [Job(name, Regexp(command)) for name, command in commands.items()]
    return Jobs(host, job_patterns(wanted, None), FakeClock())


def process(
    host: HostFs,
    pid: int,
    command: str,
    seconds: float = 0.0,
    delays: tuple[float, ...] | None = (0.0,),
    began: int = 100,
    state: str = "S",
    name: str = "a b) c",
    pages: int = 10,
) -> None:
    """`delays` in seconds by thread; None: a kernel without SCHED_INFO."""
    folder = host.proc / str(pid)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "cmdline").write_text(command.replace(" ", "\0") + ("\0" if command else ""))
    ticks = round(seconds * HERTZ)
    threads = len(delays or ())
    (folder / "stat").write_text(
        f"{pid} ({name}) {state} 1 1 1 0 -1 4194304 9 0 0 0 {ticks} 0 0 0 20 0 {threads} 0 {began} "
        f"3133440 {pages} 18446744073709551615 0 0\n"
    )
    for number, delay in enumerate(delays if delays is not None else (0,)):
        thread = folder / "task" / str(pid + number)
        thread.mkdir(parents=True)
        if delays is not None:
            (thread / "schedstat").write_text(f"5 {round(delay * 1e9)} 7\n")


def gone(host: HostFs, pid: int) -> None:
    shutil.rmtree(host.proc / str(pid))


@pytest.fixture
def host(tmp_path: Path) -> HostFs:
    return fake_host(tmp_path, {"proc/stat": "", "proc/self": ""})


def test_processes_are_a_job_by_their_command_lines(host: HostFs) -> None:
    process(host, 10, "/usr/bin/mysqld --port 3306", pages=100, delays=(0.0, 0.0))
    process(host, 11, "/usr/bin/mysqld --port 3307", pages=50)
    process(host, 12, "nginx: worker process", pages=1)
    process(host, 13, "sh -c something")
    process(host, 14, "")  # a kernel's thread
    found = jobs_of(host, mysql=r"mysqld --port \d+", web="^nginx").usage()
    assert found == {
        "mysql": JobUsage(0.0, 0.0, 150.0 * PAGE, 2, 3),
        "web": JobUsage(0.0, 0.0, 1.0 * PAGE, 1, 1),
    }


def test_a_process_belongs_to_the_first_job_that_it_matches(host: HostFs) -> None:
    process(host, 10, "java -jar shop.jar")
    found = jobs_of(host, shop=r"shop\.jar", java="java").usage()
    assert (found["shop"].processes, found["java"].processes) == (1, 0)


def test_totals_count_from_the_agents_start(host: HostFs) -> None:
    process(host, 10, "server", seconds=1000.0, delays=(50.0,))
    jobs = jobs_of(host, job="server")
    assert jobs.usage()["job"][:2] == (0.0, 0.0)
    process(host, 10, "server", seconds=1002.5, delays=(51.25,))
    process(host, 11, "server", seconds=0.5, delays=(0.25,), began=900)
    assert jobs.usage()["job"][:2] == (3.0, 1.5)


def test_a_process_that_ends_takes_nothing_from_the_totals(host: HostFs) -> None:
    process(host, 10, "server")
    process(host, 11, "server")
    jobs = jobs_of(host, job="server")
    jobs.usage()
    process(host, 10, "server", seconds=4.0, delays=(2.0,))
    assert jobs.usage()["job"][:2] == (4.0, 2.0)
    gone(host, 10)
    assert jobs.usage()["job"] == JobUsage(4.0, 2.0, 10.0 * PAGE, 1, 1)
    gone(host, 11)
    assert jobs.usage()["job"] == JobUsage(4.0, 2.0, 0.0, 0, 0)


def test_a_thread_that_ends_takes_nothing_from_the_delay(host: HostFs) -> None:
    process(host, 10, "server", delays=(0.0, 0.0))
    jobs = jobs_of(host, job="server")
    jobs.usage()
    process(host, 10, "server", delays=(1.0, 3.0))
    assert jobs.usage()["job"].run_delay_seconds == 4.0
    process(host, 10, "server", delays=(1.5,))
    assert jobs.usage()["job"].run_delay_seconds == 4.5
    process(host, 10, "server", delays=(1.5, 0.25))  # another thread of the same number
    assert jobs.usage()["job"].run_delay_seconds == 4.75


def test_another_process_of_the_same_number_is_another(host: HostFs) -> None:
    process(host, 10, "server", seconds=5.0)
    jobs = jobs_of(host, job="server")
    jobs.usage()
    process(host, 10, "server", seconds=1.0, began=500)
    assert jobs.usage()["job"].processes == 0  # it is asked who it is
    assert jobs.usage()["job"][0] == 1.0
    process(host, 10, "sh", seconds=9.0, began=700)
    jobs.usage()
    found = jobs.usage()["job"]
    assert (found.cpu_seconds, found.processes) == (1.0, 0)


def test_a_shell_that_becomes_the_server_is_found(host: HostFs) -> None:
    jobs = jobs_of(host, job="^server")
    process(host, 10, "sh -c exec_server")
    assert jobs.usage()["job"].processes == 0
    process(host, 10, "server --now", seconds=2.0)
    assert jobs.usage()["job"] == JobUsage(2.0, 0.0, 10.0 * PAGE, 1, 1)


def test_one_that_becomes_it_late_is_found_within_a_minute(host: HostFs) -> None:
    jobs = jobs_of(host, job="^server")
    process(host, 10, "sh")
    for _ in range(5):
        jobs.usage()
    process(host, 10, "server")
    assert 1 in [jobs.usage()["job"].processes for _ in range(6)]


def test_a_zombie_has_its_times_and_nothing_else(host: HostFs) -> None:
    process(host, 10, "server")
    jobs = jobs_of(host, job="server")
    jobs.usage()
    process(host, 10, "server", seconds=1.0, state="Z", delays=())
    assert jobs.usage()["job"] == JobUsage(1.0, 0.0, 0.0, 0, 0)


def test_a_kernel_without_schedstat_leaves_the_delay_out(host: HostFs) -> None:
    process(host, 10, "server", delays=None)
    jobs = jobs_of(host, job="server")
    assert jobs.usage()["job"].run_delay_seconds is None
    assert "job/job.run_delay_seconds" not in {series.name for series in jobs.read(0.0)}
    assert not [family for family in jobs.collect() if "run_delay" in family.name]


def test_the_families_have_a_row_for_each_job(host: HostFs) -> None:
    process(host, 10, "server")
    registry = Registry(FakeClock())
    registry.register(jobs_of(host, job="server", other="nobody"), "jobs")
    lines = render(registry)[0].decode().splitlines()
    assert 'kernmesh_job_cpu_usage_seconds_total{job="job"} 0.0' in lines
    assert 'kernmesh_job_processes{job="job"} 1.0' in lines
    assert 'kernmesh_job_processes{job="other"} 0.0' in lines


def test_without_jobs_there_is_no_data(host: HostFs) -> None:
    with pytest.raises(NoData, match="no jobs are configured"):
        list(jobs_of(host).collect())


@pytest.fixture
def word() -> str:
    return f"kernmesh-job-{os.getpid()}"


def eventually(check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not check():
        if time.monotonic() > deadline:
            return False
    return True


def test_a_real_process_counts_what_the_kernel_says(word: str) -> None:
    task = python_task(
        f"import time; name = {word!r}",
        "end = time.process_time() + 0.3\nwhile time.process_time() < end: pass",
    )
    with ending(task):
        patterns = job_patterns([Job("real", Regexp(word))], None)
        jobs = Jobs(HostFs(), patterns, SystemClock())
        assert eventually(lambda: jobs.usage()["real"].processes == 1)
        before, delay_before = jobs.usage()["real"], task.schedstat()[1]
        task.work()
        after, delay_after = jobs.usage()["real"], task.schedstat()[1]
        assert 0.25 <= after.cpu_seconds - before.cpu_seconds <= 0.6
        assert after.run_delay_seconds is not None
        assert before.run_delay_seconds is not None
        waited = after.run_delay_seconds - before.run_delay_seconds
        assert waited == pytest.approx((delay_after - delay_before) / 1e9, abs=0.05)
        assert after.memory_rss_bytes > 1 << 20
    assert eventually(lambda: jobs.usage()["real"].processes == 0)
    assert jobs.usage()["real"].cpu_seconds >= after.cpu_seconds


@pytest.mark.parametrize("field", [11, 12, 17, 19, 21])
def test_a_stat_that_makes_no_sense_costs_its_process(host: HostFs, field: int) -> None:
    process(host, 10, "server")
    process(host, 11, "server")
    stat = host.proc / "10/stat"
    head, _, rest = stat.read_text().rpartition(") ")
    words = rest.split()
    words[field] = "many"
    stat.write_text(f"{head}) {' '.join(words)}")
    (host.proc / "11/task/11/schedstat").write_text("5 many 7\n")
    assert jobs_of(host, job="server").usage()["job"].processes == 1
