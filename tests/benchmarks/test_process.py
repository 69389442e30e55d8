"""What processes use, read of real ones: units first of all."""

import os
import resource
import subprocess
import sys
import time

import pytest

from benchmarks import process

TICK = 1 / os.sysconf("SC_CLK_TCK")


def test_resident_memory_is_in_millions_of_bytes() -> None:
    before = process.resident_mb()
    kept = bytearray(b"x" * 64_000_000)
    grown = process.resident_mb() - before
    assert 60 < grown < 68, grown
    assert process.peak_mb(os.getpid()) >= process.resident_mb()
    assert len(kept) == 64_000_000


def test_cpu_is_what_the_process_itself_says() -> None:
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    before = time.process_time()
    found = process.cpu_seconds(os.getpid())
    assert before - 3 * TICK <= found <= time.process_time() + 3 * TICK


def test_a_child_s_cpu_and_memory_are_counted_when_it_was_waited_for() -> None:
    work = "import time\nkept = b'x' * 50_000_000\nwhile time.process_time() < 0.2: pass"
    before, machine = process.children_cpu_seconds(), process.machine_cpu_seconds()
    subprocess.run([sys.executable, "-S", "-c", work], check=True)
    spent = process.children_cpu_seconds() - before
    assert spent >= 0.2
    assert process.machine_cpu_seconds() - machine >= spent - 8 * TICK
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert process.children_peak_mb() == most * 1024 / 1e6 >= 50


def test_of_a_process_that_has_ended_nothing_is_known() -> None:
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ProcessLookupError, match="VmRSS: the process has ended"):
        process.resident_mb(ended.pid)
    ended.wait()
