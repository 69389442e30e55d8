"""Cycles and instructions by cgroup, from maps as rows (tests/kernel/test_cpi.py has real ones)."""

import struct
from pathlib import Path

import pytest

from exporter.errors import NoData
from exporter.interference.sources.counters import CounterReader
from exporter.testing import FakeClock, FakeMap, fake_host
from exporter.usage.subjects import Subject

MOUNTINFO = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
CHOSEN = [Subject("kubepods/pod1", "online"), Subject("kubepods/offline/a", "offline")]
FOLDERS = ("kubepods/pod1/app", "kubepods/pod1/sidecar", "kubepods/offline/a", "system.slice")


def test_a_pod_has_what_its_containers_have_and_who_never_ran_has_none(tmp_path: Path) -> None:
    fs = fake_host(tmp_path, {"proc/1/mountinfo": MOUNTINFO})
    for each in FOLDERS:
        (fs.cgroup / each).mkdir(parents=True)

    def counted(name: str, *counts: int) -> FakeMap:
        ids = ((fs.cgroup / each).stat().st_ino for each in FOLDERS)
        rows = {
            struct.pack("=Q", number): [count]
            for number, count in zip(ids, counts, strict=True)
            if count
        }
        return FakeMap(name, rows, key_size=8, value_size=8)

    maps = {
        "cgroup_cycles_total": counted("cgroup_cycles_total", 300, 100, 0, 9999),
        "cgroup_instructions_total": counted("cgroup_instructions_total", 150, 100, 0, 9999),
    }
    reader = CounterReader(fs, FakeClock(), lambda _, name: maps[name], lambda: CHOSEN)
    assert {series.name: value for series, value in reader(0.0).items()} == {
        "cgroup/kubepods/pod1.cycles": 400,
        "cgroup/kubepods/pod1.instructions": 250,
        "cgroup/kubepods/offline/a.cycles": 0,
        "cgroup/kubepods/offline/a.instructions": 0,
    }


def test_without_the_program_there_is_nothing_to_say(tmp_path: Path) -> None:
    reader = CounterReader(fake_host(tmp_path, {}), FakeClock(), lambda *_: None, lambda: CHOSEN)
    with pytest.raises(NoData, match="cpi does not run"):
        reader(0.0)
