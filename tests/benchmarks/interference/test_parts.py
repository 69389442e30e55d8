"""What the experiment is put together of: its arguments, its methods' rules, its page."""

from pathlib import Path

import pytest

from benchmarks.interference.__main__ import arguments, numbers
from benchmarks.interference.antagonists import INTENSITIES, KINDS, antagonist, harmless
from benchmarks.interference.client import answer_size, lua
from benchmarks.interference.methods import TABLES, Basis, Method, paced
from benchmarks.interference.remedies import REMEDIES, Trial, Trials
from benchmarks.interference.report import BEGIN, END, remedies_table
from benchmarks.pages import put_between
from exporter.interference.node_facts import NodeFacts

BASIS = Basis(NodeFacts.of(2.0, 24 * 2.0**30))
METHODS = [method for methods in TABLES.values() for method in methods]


@pytest.mark.parametrize(
    ("text", "found"), [("6-10", [6, 7, 8, 9, 10]), ("1,3-4", [1, 3, 4]), ("", [])]
)
def test_seeds_are_ranges(text: str, found: list[int]) -> None:
    assert numbers(text) == found


def test_what_is_tuned_on_is_not_what_is_reported() -> None:
    asked = arguments([])
    assert not set(asked.tune) & set(asked.seeds)
    assert asked.what == "all"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.title)
def test_every_method_is_rules_without_a_warning_asked_each_second(method: Method) -> None:
    for number in method.grid:
        rules = paced(method.make(BASIS, number))
        assert rules.rules
        assert len(set(rules.identity)) == len(rules.rules)
        assert rules.warnings == ()
        assert {rule.check_interval for rule in rules.rules} == {1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_intensities_differ(kind: str, tmp_path: Path) -> None:
    assert len({antagonist(kind, each, tmp_path) for each in INTENSITIES}) == 3


def test_what_harms_not_is_bound() -> None:
    assert all(harmless(which, Path("x")).cores for which in range(5))


@pytest.mark.parametrize(
    ("service", "data", "size"),
    [
        (0, b"", 0),
        (0, b":1\r", 0),
        (0, b":1\r\n:1\r\n", 4),
        (1, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234", 0),
        (1, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345HTTP", 43),
        (1, b"HTTP/1.1 200", 0),
    ],
)
def test_answers_are_told_apart_by_their_size(service: int, data: bytes, size: int) -> None:
    assert answer_size(service, data) == size


def test_a_request_says_its_own_length() -> None:
    _, _, _, length, script, *_ = lua(100).split(b"\r\n")
    assert int(length[1:]) == len(script)


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("# A\n", f"# A\n\n{BEGIN}\nnew\n{END}\n"),
        (f"# A\n{BEGIN}\nold\n{END}\n\nB\n", f"# A\n{BEGIN}\nnew\n{END}\n\nB\n"),
    ],
)
def test_tables_are_put_between_their_marks_and_nothing_else_is_touched(
    page: str, found: str
) -> None:
    assert put_between(page, BEGIN, END, "new\n") == found
    assert put_between(found, BEGIN, END, "new") == found


def test_remedies_are_told_by_p99_over_solo() -> None:
    def trial(remedy: str, redis: float, http: float) -> Trial:
        return Trial("cpu", 3, remedy, {"redis": redis, "http": http}, "")

    solo, none = trial("solo", 0.002, 0.001), trial("nothing", 0.01, 0.003)
    preempt = trial("preempt", 0.0024, 0.001)
    table = remedies_table(Trials([1.0], [solo, none, preempt]))
    assert len(table.head) == len(REMEDIES) + 1
    assert table.rows == (("cpu 3", "5 / 3", "1.2 / 1", *["–"] * 5),)
