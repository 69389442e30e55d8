"""Nodes to structs: by the field's type, from the scalar's text; all problems in their place."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from exporter.config import Duration, Fault, load_yaml
from exporter.errors import ConfigError


class Inner(Struct, frozen=True):
    name: str
    low: int = 0
    high: int = 10

    def faults(self) -> Iterator[Fault]:
        if self.low > self.high:
            yield Fault(("low",), "too large", self.low, "at most high", also=(("high",),))


class Outer(Struct, frozen=True, rename={"class_": "class"}):
    text: str = "x"
    maybe: str | None = "x"
    flag: bool = False
    whole: int = 0
    number: float = 0.0
    word: Literal["a", "b", 3] = "a"
    wait: Duration = Duration("1s")
    list_: tuple[int, ...] = ()
    table: dict[str, str] = {}
    mixed: tuple[str, ...] | Literal["all"] | None = None
    either: int | str = 0
    bounded: Annotated[int, Meta(gt=0, lt=5)] = 1
    inner: Inner = Inner("default")
    inners: tuple[Inner, ...] = ()
    class_: str = ""


def read(text: str, **options: Any) -> Outer:
    return load_yaml(text.encode(), Outer, file="f", **options)


def problems(text: str, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **options)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("text", "on", "on"),
        ("text", "1.0", "1.0"),
        ("text", "1:30", "1:30"),
        ("text", "fe80::1", "fe80::1"),
        ("text", "2001-01-01", "2001-01-01"),
        ("text", "'null'", "null"),
        ("text", "''", ""),
        ("text", "|\n  a\n  b", "a\nb\n"),
        ("maybe", "null", None),
        ("maybe", "~", None),
        ("maybe", "", None),
        ("maybe", "'~'", "~"),
        ("flag", "on", True),
        ("flag", "YES", True),
        ("flag", "False", False),
        ("flag", "off", False),
        ("whole", "0x1F", 31),
        ("whole", "0o17", 15),
        ("whole", "1_000", 1000),
        ("whole", "-7", -7),
        ("whole", "'7'", 7),
        ("number", "1e-3", 0.001),
        ("number", ".5", 0.5),
        ("number", "3", 3.0),
        ("word", "b", "b"),
        ("word", "3", 3),
        ("wait", "1m30s", 90.0),
        ("wait", "0", 0.0),
        ("list_", "[1, 0x2]", (1, 2)),
        ("list_", "[]", ()),
        ("table", "{0: read, on: off, ~: x}", {"0": "read", "on": "off", "~": "x"}),
        ("mixed", "all", "all"),
        ("mixed", "[all]", ("all",)),
        ("mixed", "null", None),
        ("either", "5", 5),
        ("either", "five", "five"),
        ("bounded", "4", 4),
        ("inner", "{name: a, high: 3}", Inner("a", 0, 3)),
        ("inners", "[{name: a}, {name: b}]", (Inner("a"), Inner("b"))),
    ],
)  # fmt: skip
def test_a_scalar_is_read_by_the_field_s_type(key: str, written: str, value: object) -> None:
    assert getattr(read(f"{key}: {written}\n"), key) == value


def test_a_key_may_be_called_otherwise_than_its_field() -> None:
    assert read("class: a").class_ == "a"
    assert problems("class_: a") == ["f:1: class_: unknown key (did you mean class?)"]


def test_all_problems_are_said_in_file_order() -> None:
    text = "whole: a\nzzz: 1\ninners:\n  - {low: b}\n  - {name: c, low: 11}\nflag: c\nwait: d\n"
    assert [line.split(": ")[0:2] for line in problems(text)] == [
        ["f:1", "whole"],
        ["f:2", "zzz"],
        ["f:4", "inners[0].low"],
        ["f:4", "inners[0].name"],
        ["f:5", "inners[1].low"],
        ["f:6", "flag"],
        ["f:7", "wait"],
    ]


def test_a_rule_across_keys_is_not_said_where_one_of_them_could_not_be_read() -> None:
    assert problems("inner: {name: a, low: 11}") == [
        "f:1: inner.low: too large, got 11, want at most high"
    ]
    assert problems("inner: {name: a, high: -1}") == [
        "f:1: inner.low: too large, got 0 (the default), want at most high"
    ]
    assert len(problems("inner: {name: a, low: 11, high: ten}")) == 1


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("a: &a {text: m, whole: 1}\n<<: *a\nwhole: 2", (2, "m")),
        ("whole: 2\n<<: {whole: 1, text: m}", (2, "m")),
        ("<<: [{text: first}, {text: second, whole: 3}]", (3, "first")),
        ("<<: {<<: {text: deep}, whole: 4}", (4, "deep")),
    ],
)
def test_merged_keys_count_where_the_map_has_none_of_its_own(
    written: str, value: tuple[int, str]
) -> None:
    merged = read(written, unknown="ignore")
    assert (merged.whole, merged.text) == value


def test_a_quoted_merge_key_is_a_key() -> None:
    assert read("table: {'<<': a}").table == {"<<": "a"}


def test_a_problem_in_a_merged_key_is_said_where_it_stands() -> None:
    assert problems("<<:\n  whole: a\n")[0].startswith("f:2: whole: not a whole number")


def test_unknown_keys_are_passed_over_for_files_of_other_programs() -> None:
    assert read("zzz: [1, {a: b}]\nwhole: 3\n", unknown="ignore").whole == 3


def test_keys_without_a_value_count_as_absent_where_the_caller_says_so() -> None:
    text = "list_:\nwhole:\ntable: {0: , 1: ~}\n"
    assert read(text, nulls="default") == Outer(table={"0": "", "1": ""})
    assert len(problems(text)) == 4
    assert problems("inners: [{name: }]", nulls="default") == [
        "f:1: inners[0].name: is empty, want text"
    ]


@pytest.mark.parametrize("number", ["010", "1.0", "0x", "1e3", "٣", "--1", "1 000", "", "9" * 81])
def test_what_is_no_whole_number_is_refused(number: str) -> None:
    assert len(problems(f"whole: {number}")) == 1


@pytest.mark.parametrize(
    "number", [".nan", ".inf", "nan", "inf", "1e999", "-1e999", "0x1p3", "1:30", "1" * 81]
)
def test_what_is_no_finite_number_is_refused(number: str) -> None:
    assert len(problems(f"number: {number}")) == 1


@pytest.mark.parametrize(("number", "fine"), [(0, False), (1, True), (4, True), (5, False)])
def test_bounds_are_kept(number: int, fine: bool) -> None:
    if fine:
        assert read(f"bounded: {number}").bounded == number
    else:
        assert len(problems(f"bounded: {number}")) == 1


def test_hostile_text_is_quoted_and_cut_in_messages() -> None:
    (line,) = problems(r'whole: "\e[31m\n\u202e' + "x" * 500 + '"')
    assert line.isprintable()
    assert len(line) < 200
    (line,) = problems('"' + "k" * 500 + r'\e": 1', unknown="error")
    assert line.isprintable()
    assert len(line) < 300


def test_passwords_in_urls_are_not_repeated() -> None:
    (line,) = problems("whole: http://user:secret@host/")
    assert "secret" not in line


def test_many_problems_are_counted_not_all_shown() -> None:
    found = problems("".join(f"k{n}: 1\n" for n in range(250)))
    assert len(found) == 101
    assert found[-1] == "f: 150 more problems are not shown"


def test_a_struct_s_own_rules_keep_the_line_of_merged_keys_near() -> None:
    text = "inner:\n  name: a\n  <<: {low: 11}\n"
    assert problems(text)[0].startswith("f:2: inner.low: too large, got 11")
