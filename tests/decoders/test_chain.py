"""Chains: which orders work, what they give, what they refuse."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.decoders import (
    DECODERS,
    DecodeContext,
    Provisional,
    chain,
    label_problems,
    order_problem,
)
from exporter.ebpf.labelspec import DecoderSpec, LabelSpec
from exporter.errors import DecodeError, SkipRow
from exporter.testing import FakeClock, fake_host

UPSTREAM = [
    *("cgroup", "dname", "errno", "hex", "ifname", "inet_ip", "kstack", "ksym", "majorminor"),
    *("pci_class", "pci_device", "pci_subclass", "pci_vendor", "regexp", "static_map", "string"),
    *("syscall", "uint"),
]


def label(size: int, *decoders: DecoderSpec | str) -> LabelSpec:
    specs = tuple(DecoderSpec(each) if isinstance(each, str) else each for each in decoders)
    return LabelSpec("x", size, 0, specs)


@pytest.fixture
def context(tmp_path: Path) -> DecodeContext:
    return DecodeContext.of(fake_host(tmp_path, {}), FakeClock())


OURS = {"comm", "enum", "pod", "usym"}


def test_every_decoder_of_upstream_is_there_and_ours() -> None:
    assert sorted(DECODERS.keys() - OURS) == UPSTREAM
    assert DECODERS.keys() >= OURS


@pytest.mark.parametrize(
    "names",
    [
        ["uint", "static_map"],
        ["string", "regexp"],
        ["uint", "cgroup", "regexp"],
        ["cgroup"],
        ["string", "dname"],
        ["string", "hex"],
        ["ksym", "regexp", "static_map"],
        ["uint", "regexp", "syscall"],
        ["uint", "static_map", "errno"],
        ["inet_ip"],
    ],
)
def test_orders_that_upstream_files_use_can_work(names: list[str]) -> None:
    assert order_problem(names) is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "got no decoders, want at least one (uint, string, ksym, …)"),
        (
            ["static_map"],
            "static_map cannot be first, it takes text: put `uint` or `string` before it",
        ),
        (["regexp", "string"], "regexp cannot be first, it takes text: put `uint` or `string` "),
        (
            ["string", "uint"],
            "uint can only be first, as it reads the key's bytes: got it after string",
        ),
        (
            ["ksym", "ksym"],
            "ksym can only be first, as it reads the key's bytes: got it after ksym",
        ),
        (["ksym", "syscall"], "syscall takes a decimal number, which ksym does not give"),
        (["uint", "cgroup", "errno"], "errno takes a decimal number, which cgroup does not give"),
        (
            ["uint", "dname"],
            "dname takes the kernel's bytes, which uint does not leave as they are",
        ),
    ],
)
def test_an_order_that_cannot_work_is_said(names: list[str], said: str) -> None:
    assert str(order_problem(names)).startswith(said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (label(8, "ksyms"), ["unknown decoder 'ksyms' (did you mean 'ksym'?)"]),
        (label(4, "ksym"), ["ksym: got a size of 4 bytes, want 8"]),
        (label(3, "uint"), ["uint: got a size of 3 bytes, want 1 or 2 or 4 or 8"]),
        (label(12, "kstack"), ["kstack: got a size of 12 bytes, want a multiple of 8"]),
        (
            label(4, "uint", "static_map"),
            ["static_map: got no `static_map`, want a table of raw: text"],
        ),
        (label(4, "enum"), ["enum: got no `enum`, want the name of a C enum (tcp_ca_state)"]),
        (
            label(4, DecoderSpec("enum", enum="enum tcp_ca_state")),
            ["enum: got 'enum tcp_ca_state', want the bare name of a C enum (tcp_ca_state)"],
        ),
        (
            label(4, "string", DecoderSpec("regexp", regexps=("(",)), "uint"),
            [
                "regexp: '(' is no RE2 expression: missing ): (",
                "uint can only be first, as it reads the key's bytes: got it after regexp",
            ],
        ),
    ],
)
def test_all_that_is_wrong_with_a_label_is_said_at_once(wrong: LabelSpec, said: list[str]) -> None:
    assert label_problems(wrong) == said


def test_a_name_like_no_decoder_gets_the_list_of_them() -> None:
    (said,) = label_problems(label(8, "qqq"))
    assert said.startswith("unknown decoder 'qqq' (there are cgroup, comm, dname, ")


def test_a_wrong_chain_is_refused_before_it_decodes(context: DecodeContext) -> None:
    with pytest.raises(DecodeError, match=r"^label 'x': unknown decoder 'unit' \(did you mean 'ui"):
        chain(label(8, "unit"), context)


def test_steps_follow_each_other(context: DecodeContext) -> None:
    table = DecoderSpec("static_map", static_map={"1": "read"})
    decode = chain(label(1, "uint", table, DecoderSpec("regexp", regexps=("^(rea|unk)",))), context)
    assert [decode(b"\1"), decode(b"\2")] == ["rea", "unk"]


def test_a_number_decoder_reads_the_key_by_itself(context: DecodeContext) -> None:
    assert chain(label(4, "errno"), context)((1).to_bytes(4, sys.byteorder)) == "EPERM"


def test_bytes_that_are_no_utf_8_become_replacement_signs(context: DecodeContext) -> None:
    assert chain(label(4, "string"), context)(b"a\xff\xc3\xa9") == "a\ufffdé"


def test_a_dns_name_keeps_its_bytes_through_string(context: DecodeContext) -> None:
    wire = bytes([200]) + b"x" * 200 + b"\x03com\0\0"
    assert chain(label(206, "string", "dname"), context)(wire) == "x" * 200 + ".com"


def test_what_may_read_better_later_says_so_through_the_chain(context: DecodeContext) -> None:
    filtered = DecoderSpec("regexp", regexps=("unknown_cgroup_id.*",))
    text = chain(label(8, "uint", "cgroup", filtered), context)(bytes(8))
    assert text == "unknown_cgroup_id:0"
    assert type(text) is Provisional


@pytest.mark.parametrize(("first", "provisional"), [("cgroup", True), ("uint", False)])
def test_a_row_left_out_for_now_is_told_from_one_left_out_for_good(
    context: DecodeContext, first: str, provisional: bool
) -> None:
    decode = chain(label(8, first, DecoderSpec("regexp", regexps=("^/never",))), context)
    with pytest.raises(SkipRow) as left_out:
        decode(bytes(8))
    assert left_out.value.provisional is provisional


_THIS_HOST = DecodeContext.of(clock=FakeClock())


@settings(deadline=None)
@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=40))
def test_any_bytes_give_text_or_a_decode_error(name: str, raw: bytes) -> None:
    spec = DecoderSpec(name, static_map={"1": "a"}, regexps=("a",))
    first = () if DECODERS[name].decode else ("string",)
    try:
        text = chain(label(0, *first, spec), _THIS_HOST)(raw)
    except (DecodeError, SkipRow):
        return
    text.encode()  # no lone surrogates are left
