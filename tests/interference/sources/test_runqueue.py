"""Waits and preemptions by cgroup, from maps as rows (tests/kernel has the real ones)."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from exporter.ebpf.maps import BpfMap
from exporter.errors import NoData
from exporter.interference.sources.runqueue import MOST_PAIRS, SLOTS, RunQueueReader
from exporter.testing import FakeClock, FakeMap, fake_host
from exporter.usage import store as stores
from exporter.usage.subjects import Subject

MOUNTINFO = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
ONLINE = [Subject("kubepods/pod1", "online"), Subject("kubepods/pod2", "online")]
OFFLINE = [Subject("kubepods/offline/a", "offline"), Subject("kubepods/offline/b", "offline")]
CHOSEN = [*ONLINE, *OFFLINE]
FOLDERS = (
    "kubepods/pod1/app",
    "kubepods/pod1/sidecar",
    "kubepods/pod2/app",
    "kubepods/offline/a/job",
    "kubepods/offline/b/job",
    "system.slice",
)


def hist(slots: Mapping[int, int], microseconds: int) -> list[int]:
    words = [0] * (SLOTS + 2)
    for slot, count in slots.items():
        words[slot] = count
    words[-1] = microseconds
    return words


class Machine:
    """Cgroup folders with their ids, and maps by program and name."""

    def __init__(self, folder: Path) -> None:
        self.fs = fake_host(folder, {"proc/1/mountinfo": MOUNTINFO})
        self.ids: dict[str, int] = {}
        for each in FOLDERS:
            (self.fs.cgroup / each).mkdir(parents=True)
            self.ids[each] = (self.fs.cgroup / each).stat().st_ino
        self.maps: dict[tuple[str, str], FakeMap] = {}
        self.clock = FakeClock()

    def key(self, *folders: str) -> bytes:
        return struct.pack(f"={len(folders)}Q", *(self.ids[each] for each in folders))

    def waits(self, rows: Mapping[str, Sequence[int]]) -> None:
        found = {self.key(name): list(words) for name, words in rows.items()}
        self.maps["runqlat", "runq_latency_seconds"] = FakeMap(
            "runq_latency_seconds", found, key_size=8, value_size=8 * (SLOTS + 2)
        )

    def pairs(self, program: str, name: str, rows: Mapping[tuple[str, str], list[int]]) -> None:
        found = {self.key(*pair): words for pair, words in rows.items()}
        size = 8 * (SLOTS + 2 if program == "runqlat" else 1)
        self.maps[program, name] = FakeMap(name, found, key_size=16, value_size=size)

    def map_of(self, program: str, name: str) -> BpfMap | None:
        return self.maps.get((program, name))

    def read(self, chosen: Sequence[Subject] = CHOSEN) -> dict[str, float]:
        reader = RunQueueReader(self.fs, self.clock, self.map_of, lambda: chosen)
        return {series.name: value for series, value in reader(0.0).items()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_the_programs_there_is_nothing_to_say(machine: Machine) -> None:
    with pytest.raises(NoData, match="neither runqlat nor preemptions runs"):
        machine.read()


def test_a_pods_waits_are_its_containers_together(machine: Machine) -> None:
    machine.waits(
        {
            "kubepods/pod1/app": hist({0: 5, 10: 2}, 2_000_000),
            "kubepods/pod1/sidecar": hist({10: 1, 26: 1}, 500_000),
            "system.slice": hist({5: 99}, 99),
        }
    )
    found = machine.read()
    thing = "cgroup/kubepods/pod1"
    assert found[f"{thing}.runq_wait_seconds"] == 2.5
    assert found[f"{thing}.runq_waits_128"] == 5
    assert found[f"{thing}.runq_waits_1024"] == 3
    assert found[f"{thing}.runq_waits_{1 << 40}"] == 1
    assert found["cgroup/kubepods/pod2.runq_waits_128"] == 0  # counted, and none
    assert not any("system" in name for name in found)
    assert "cgroup/kubepods/offline/a.runq_waits_128" not in found  # nobody asks


def test_of_pairs_only_online_behind_offline_counts(machine: Machine) -> None:
    machine.waits({})
    machine.pairs(
        "runqlat",
        "runq_behind",
        {
            ("kubepods/pod1/app", "kubepods/offline/a/job"): hist({12: 3}, 9_000),
            ("kubepods/pod1/sidecar", "kubepods/offline/a/job"): hist({12: 1}, 3_000),
            ("kubepods/pod1/app", "kubepods/offline/b/job"): hist({0: 1}, 1),
            ("kubepods/pod1/app", "kubepods/pod2/app"): hist({12: 50}, 150_000),
            ("kubepods/pod1/app", "system.slice"): hist({12: 50}, 150_000),
            ("kubepods/offline/a/job", "kubepods/offline/b/job"): hist({12: 50}, 150_000),
        },
    )
    machine.pairs(
        "preemptions",
        "preemptions_total",
        {
            ("kubepods/pod1/app", "kubepods/offline/a/job"): [7],
            ("kubepods/pod2/app", "kubepods/pod1/app"): [9],
        },
    )
    found = machine.read()
    thing = "cgroup/kubepods/pod1"
    assert found[f"{thing}.waited_for_offline_seconds"] == pytest.approx(0.012001)
    assert found[f"{thing}.offline_waits_4096"] == 4
    assert found[f"{thing}.preempted_by_offline"] == 7
    assert found["cgroup/kubepods/pod2.preempted_by_offline"] == 0
    pairs = {name: value for name, value in found.items() if "//" in name}
    assert pairs == {
        f"{thing}//kubepods/offline/a.waited_seconds": pytest.approx(0.012),
        f"{thing}//kubepods/offline/b.waited_seconds": pytest.approx(1e-6),
        f"{thing}//kubepods/offline/a.preemptions": 7,
    }


def test_one_program_alone_is_enough(machine: Machine) -> None:
    machine.pairs("preemptions", "preemptions_total", {})
    assert machine.read()["cgroup/kubepods/pod1.preempted_by_offline"] == 0


def test_values_of_all_cpus_are_one(machine: Machine) -> None:
    machine.maps["runqlat", "runq_latency_seconds"] = FakeMap(
        "runq_latency_seconds",
        {machine.key("kubepods/pod1/app"): [hist({0: 1}, 10), hist({0: 2}, 20)]},
        key_size=8,
        value_size=8 * (SLOTS + 2),
        cpus=2,
    )
    assert machine.read()["cgroup/kubepods/pod1.runq_waits_128"] == 3


def test_pairs_are_bounded() -> None:
    assert MOST_PAIRS * 2 < stores.MAX_COLUMNS


def test_a_pair_that_is_new_begins_at_nothing_and_one_from_before_the_start_does_not(
    machine: Machine,
) -> None:
    reader = RunQueueReader(machine.fs, machine.clock, machine.map_of, lambda: CHOSEN)
    pairs = {("kubepods/pod1/app", "kubepods/offline/a/job"): [5]}
    name = "cgroup/kubepods/pod1//kubepods/offline/{}.preemptions"

    def total(of: str) -> float | None:
        machine.pairs("preemptions", "preemptions_total", pairs)
        found = {series.name: value for series, value in reader(0.0).items()}
        return found.get(name.format(of))

    assert (total("a"), total("b")) == (5, None)
    pairs["kubepods/pod1/app", "kubepods/offline/b/job"] = [3]
    assert total("b") == 0
    assert (total("a"), total("b")) == (5, 3)
