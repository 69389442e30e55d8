"""Which kernel types a function follows is read from its object, not from a list."""

import subprocess
from pathlib import Path

import pytest

from exporter.ebpf.relocations import KernelType, plain, relocations
from exporter.errors import BpfError


@pytest.fixture(scope="module")
def shipped() -> Path:
    """The folder of shipped programs, compiled."""
    folder = Path(__file__).resolve().parents[2] / "bpf"
    subprocess.run(["make", "-s", "-C", folder], check=True, capture_output=True)
    return folder


def types(folder: Path, name: str) -> dict[str, set[tuple[str, ...]]]:
    found = relocations((folder / f"{name}.bpf.o").read_bytes())
    return {function: {tuple(each.type) for each in every} for function, every in found.items()}


def test_each_function_has_its_own(shipped: Path) -> None:
    assert types(shipped, "timers") == {
        "timer_start_btf": {("struct", "timer_list", "")},
        "timer_start_tracepoint": {("struct", "trace_event_raw_timer_start", "")},
    }


def test_a_function_that_follows_none_has_none(shipped: Path) -> None:
    found = types(shipped, "softirq-latency")
    assert found["raise_raw"] == set()
    assert found["raise_tracepoint"] == {("struct", "trace_event_raw_softirq", "")}


def test_enumerators_are_told_by_name_and_flavours_are_the_kernels_own(shipped: Path) -> None:
    found = types(shipped, "biolatency")["complete_raw"]
    assert ("enum", "req_opf", "REQ_OP_WRITE_SAME") in found
    assert ("enum", "req_opf", "REQ_OP_ZONE_APPEND") in found
    assert ("struct", "request", "") in found
    assert not any("___" in part for each in found for part in each)


def test_bit_fields_are_marked(shipped: Path) -> None:
    found = relocations((shipped / "tcp-window-clamps.bpf.o").read_bytes())
    bits = {each.type for each in found["segment_raw"] if each.bits}
    assert bits == {KernelType("struct", "inet_connection_sock")}


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("request", "request"),
        ("request___with_disk", "request"),
        ("a__b", "a__b"),
        ("___x", "___x"),
    ],
)
def test_a_flavour_is_cut_off(name: str, kernels: str) -> None:
    assert plain(name) == kernels


def test_what_is_no_object_is_one_line() -> None:
    with pytest.raises(BpfError, match="not an ELF file"):
        relocations(b"nothing")
