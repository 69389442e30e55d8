"""What a configuration wants of the machine, read off the shipped programs and the rules."""

import json
from pathlib import Path

import pytest

from exporter.config import AgentConfig, load_yaml
from exporter.doctor.wants import HARDWARE, Wants, named, state_place, wants_of
from exporter.hostfs import HostFs
from exporter.testing import fake_host
from tests.doctor.machines import BTF


def wants(config: object, host: HostFs) -> Wants:
    return wants_of(load_yaml(json.dumps(config).encode(), AgentConfig), host)


@pytest.fixture
def host(tmp_path: Path) -> HostFs:
    return fake_host(tmp_path, BTF)


def test_programs_are_those_of_the_file_and_those_that_rules_need(host: HostFs) -> None:
    plain = wants({"ebpf": {"programs": ["timers"]}}, host)
    assert plain.programs == ("timers",)
    ruled = wants({"ebpf": {"programs": ["timers"]}, "interference": {"rules": "default"}}, host)
    assert ruled.programs == ("timers", "runqlat", "preemptions")
    assert (plain.psi, ruled.psi) == ("", "interference.rules")


@pytest.mark.parametrize(
    ("kinds", "lost"),
    [
        ({"kprobe", "kretprobe"}, ()),
        ({"iter"}, ("bpf-jit",)),
        ({"tp_btf"}, ()),
        ({"tp_btf", "tracepoint", "tp"}, ("timers",)),
        ({HARDWARE}, ("llcstat",)),
        ({"uprobe"}, ("uprobe",)),
    ],
)
def test_a_program_is_lost_with_the_last_way_of_a_hook_that_it_needs(
    host: HostFs, kinds: set[str], lost: tuple[str, ...]
) -> None:
    programs = ["timers", "shrinklat", "bpf-jit", "llcstat", "uprobe"]
    assert wants({"ebpf": {"programs": programs}}, host).lost(kinds) == lost


def test_a_program_that_is_not_there_wants_nothing(host: HostFs) -> None:
    assert wants({"ebpf": {"programs": ["no-such"]}}, host) == Wants(state_dir="/var/lib/kernmesh")


def test_without_btf_programs_that_read_the_kernels_structs_are_lost(tmp_path: Path) -> None:
    bare = fake_host(tmp_path, {})
    programs = {"ebpf": {"programs": ["softirq-latency", "biolatency", "bpf-jit"]}}
    assert wants(programs, bare).lost_without_btf == ("biolatency", "bpf-jit")
    own = wants({"ebpf": {**programs["ebpf"], "btf": "/some.btf"}}, bare)
    assert own.lost_without_btf == ("bpf-jit",)


@pytest.mark.parametrize(
    ("pingmesh", "key"),
    [
        ({}, ""),
        ({"pinglist": "/p"}, "pingmesh.pinglist"),
        ({"allow": ["loopback"]}, "pingmesh.allow"),
        ({"controller": "http://c:9115"}, "pingmesh.controller"),
    ],
)
def test_icmp_is_wanted_by_whatever_probes(
    host: HostFs, pingmesh: dict[str, object], key: str
) -> None:
    assert wants({"pingmesh": pingmesh}, host).ping == key


def test_many_programs_are_named_by_the_first_four() -> None:
    assert named(()) == ""
    assert named(("a", "b")) == "ebpf.programs: a, b"
    assert named(tuple("abcdef")) == "ebpf.programs: a, b, c, d and 2 more"


def test_the_place_of_a_folder_that_is_not_there_is_the_nearest_above_it(tmp_path: Path) -> None:
    assert state_place(str(tmp_path)) == tmp_path
    assert state_place(str(tmp_path / "a/b")) == tmp_path
