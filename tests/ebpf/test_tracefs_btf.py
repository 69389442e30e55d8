"""Tracepoints' format files as types, and the BTF that is made of them."""

from pathlib import Path

import pytest

from exporter.ebpf.btf import Btf
from exporter.ebpf.btf_build import Field, build
from exporter.ebpf.btf_verify import verify_types
from exporter.ebpf.relocations import KernelType, Relocation
from exporter.ebpf.tracefs_btf import parse_format, tracepoint_structs
from exporter.hostfs import HostFs

# as kernel 6.18 shows block:block_rq_issue, less two fields of a kind that is there already
BLOCK_RQ_ISSUE = """\
name: block_rq_issue
ID: 1077
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:dev_t dev;\toffset:8;\tsize:4;\tsigned:0;
\tfield:sector_t sector;\toffset:16;\tsize:8;\tsigned:0;
\tfield:char rwbs[10];\toffset:34;\tsize:10;\tsigned:1;
\tfield:char comm[TASK_COMM_LEN];\toffset:44;\tsize:16;\tsigned:0;
\tfield:__data_loc char[] cmd;\toffset:60;\tsize:4;\tsigned:0;
\tfield:void * function;\toffset:64;\tsize:8;\tsigned:0;
\tfield:enum pm_qos_type which;\toffset:72;\tsize:4;\tsigned:0;

print fmt: "%d,%d %s", ((unsigned int) ((REC->dev) >> 20)), __get_str(cmd)
"""


def test_a_format_is_its_own_fields_where_they_stand() -> None:
    assert parse_format(BLOCK_RQ_ISSUE) == [
        Field("dev", 8, 4),
        Field("sector", 16, 8),
        Field("rwbs", 34, 10, signed=True, elements=10),
        Field("comm", 44, 16, elements=16),
        Field("__data_loc_cmd", 60, 4),
        Field("function", 64, 8, "ptr"),
        Field("which", 72, 4, "enum"),
    ]


@pytest.mark.parametrize("text", ["", "\n", "field:;offset:0;size:1;", "format:\n\tfield:int;x"])
def test_what_is_no_field_is_passed_over(text: str) -> None:
    assert parse_format(text) == []


def test_the_btf_holds_each_field_at_its_place_and_of_its_kind() -> None:
    btf = Btf(build({"trace_event_raw_block_rq": parse_format(BLOCK_RQ_ISSUE)}))
    verify_types(btf)
    struct = btf.find("trace_event_raw_block_rq", "struct")
    assert struct is not None
    assert struct.size == 76
    members = {m.name: (m.offset_bits // 8, btf.type(m.type).kind) for m in btf.members(struct)}
    assert members == {
        "dev": (8, "int"),
        "sector": (16, "int"),
        "rwbs": (34, "array"),
        "comm": (44, "array"),
        "__data_loc_cmd": (60, "int"),
        "function": (64, "ptr"),
        "which": (72, "enum"),
    }
    sizes = {m.name: btf.size(m.type) for m in btf.members(struct)}
    assert sizes["rwbs"] == 10
    assert sizes["sector"] == 8


def test_the_btf_of_nothing_is_still_btf() -> None:
    assert len(Btf(build({}))) == 2  # void, and one number that libbpf wants to see


def test_a_struct_that_is_no_scalar_becomes_bytes() -> None:
    btf = Btf(build({"s": [Field("address", 0, 28)]}))
    struct = btf.find("s", "struct")
    assert struct is not None
    (member,) = btf.members(struct)
    assert btf.type(member.type).kind == "array"
    assert btf.size(member.type) == 28


def relocated(name: str) -> tuple[Relocation, ...]:
    return (Relocation(KernelType("struct", name), 1, bits=False),)


def event(root: Path, name: str, text: str) -> None:
    folder = root / "kernel/tracing/events" / name
    folder.mkdir(parents=True)
    (folder / "format").write_text(text)


ONE = "\tfield:int a;\toffset:8;\tsize:4;\tsigned:1;\n"
OTHER = "\tfield:int a;\toffset:16;\tsize:4;\tsigned:1;\n"


@pytest.mark.parametrize(
    ("second", "found"),
    [(ONE, {"trace_event_raw_c": [Field("a", 8, 4, signed=True)]}), (OTHER, {})],
    ids=["alike", "different"],
)
def test_events_of_one_class_must_agree_on_its_layout(
    tmp_path: Path, second: str, found: dict[str, list[Field]]
) -> None:
    event(tmp_path, "g/first", ONE)
    event(tmp_path, "g/second", second)
    sections = {"f": "tracepoint/g/first", "s": "tp/g/second", "t": "raw_tp/first"}
    reads = dict.fromkeys(sections, relocated("trace_event_raw_c"))
    assert tracepoint_structs(sections, reads, HostFs(sys=tmp_path)) == found


@pytest.mark.parametrize("section", ["tracepoint/g/missing", "tracepoint/../../../etc", "tp/"])
def test_events_that_are_not_there_say_nothing(tmp_path: Path, section: str) -> None:
    event(tmp_path, "g/first", ONE)
    reads = {"f": relocated("trace_event_raw_c")}
    assert tracepoint_structs({"f": section}, reads, HostFs(sys=tmp_path)) == {}


def test_a_long_word_is_looked_through_once() -> None:
    """A million letters would take hours if the search began anew at each."""
    line = "\tfield:char {0};\toffset:8;\tsize:1;\tsigned:0;\n\tfield:{0}-;\toffset:9;\tsize:1;\n"
    assert [field.size for field in parse_format(line.format("a" * 1_000_000))] == [1]
