"""Expressions: what they parse to, that printing and reading agree, and three-valued answers."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.interference.expression import ExpressionError, Tree, parse
from exporter.interference.syntax import MAX_HEIGHT

VALUES = {"a": 1.0, "b": 2.0, "zero": 0.0, "nan": math.nan, "util[sda]": 0.5, "util[sdb]": 0.95}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a + b * 2 == 5", True),
        ("(a + b) * 2 == 6", True),
        ("b - a - a == 0", True),
        ("-a + b == 1", True),
        ("- -a == 1", True),
        ("7 % 4 == 3 && -7 % 4 == -3", True),
        ("1.5e1 == 15 && .5 == 0.5 && 2. == 2", True),
        ("2Gi == 2147483648 && 1Ki == 1024", True),
        ("a < b == b > a", True),
        ("!(a > b) && a != b", True),
        ("a > b || a < b && zero > 1", False),
        ("(a < b || a > b) && zero >= 0", True),
        ("util[sda] > 0.4", True),
        ("a + b", 3.0),
        ("missing > 1", None),
        ("missing > 1 || a == 1", True),
        ("a == 1 || missing > 1", True),
        ("missing > 1 || a == 2", None),
        ("missing > 1 && a == 2", False),
        ("a == 2 && missing > 1", False),
        ("missing > 1 && a == 1", None),
        ("!(missing > 1)", None),
        ("-missing < 1", None),
        ("missing + 1 > 0", None),
        ("a / zero > 1", None),
        ("a % zero > 1", None),
        ("1e308 * 10 > 1", None),
        ("nan > 0", None),
        ("nan + 1 > 0", None),
        ("a \n > \n 0", True),
    ],
)
def test_an_expression_has_this_answer(text: str, answer: object) -> None:
    assert parse(text).evaluate(VALUES.get) == answer
    assert type(parse(text).evaluate(VALUES.get)) is type(answer)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty, want a condition in column 1"),
        (" \n ", "is empty, want a condition in column 1"),
        ("a >", "got the end, want a number, a variable or ( in column 4"),
        ("(a > 1", "got the end, want an operator or ) in column 7"),
        ("a > 1)", "got ), want an operator in column 6"),
        ("a b", "got b, want an operator in column 3"),
        ("a > * 2", "got *, want a number, a variable or ( in column 5"),
        ("a = 1", "not of this language, got '=' (did you mean ==?) in column 3"),
        ("a & b", "not of this language, got '&' (did you mean &&?) in column 3"),
        ("a > 1 and b > 1", "not an operator, got and (did you mean &&?) in column 7"),
        ("not a", "not an operator, got not (did you mean !?) in column 1"),
        ("a > 1\n&& b ? c", "not of this language, got '?' in line 2, column 6"),
        ("a > 5x", "unknown unit, got 5x, want a number, or one with Ki, Mi, Gi, Ti in column 5"),
        ("a > 1e999", "number too large, got 1e999 in column 5"),
        ("a[] > 1", "no device's name in the brackets, got '' in column 1"),
        ("a[x y] > 1", "no device's name in the brackets, got 'x y' in column 1"),
        ("$dev_a[sda] > 1", "two devices, got $dev_a[sda], want one in column 1"),
        ("$device > 1", "not of this language, got '$' in column 1"),
        ("'a' == 1", 'not of this language, got "\'" in column 1'),
        ("é > 1", "not of this language, got 'é' in column 1"),
        ("(" * 33, "nested too deep, want at most 32 levels in column 33"),
        ("!" * 33 + "a", "nested too deep, want at most 32 levels in column 33"),
        ("a" * 10_001, "is too long, want at most 10000 characters in column 1"),
        (
            "a" + " + a" * MAX_HEIGHT,
            "too much, want at most 150 operators one upon the other in column 599",
        ),
    ],
)
def test_what_is_no_expression_is_told_where(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == problem


def test_the_deepest_that_is_taken_can_be_asked_and_printed() -> None:
    text = "(" * 32 + "a" + " + a" * (MAX_HEIGHT - 1) + ")" * 32 + " > 0"
    with pytest.raises(ExpressionError):
        parse(text + " && a > 0")
    tree = parse("(" * 32 + "a" + " + a" * (MAX_HEIGHT - 2) + ")" * 32 + " > 0")
    assert tree.evaluate(VALUES.get) is True
    assert parse(str(tree)) == tree


@pytest.mark.parametrize(
    ("devices", "answer"),
    [
        (["sda"], False),
        (["sda", "sdb"], True),
        (["sda", "eth0"], False),  # eth0 has no util: it is of another kind, not unknown
        (["eth0"], None),
        ([], None),
    ],
)
def test_of_devices_one_is_enough_and_one_of_another_kind_has_no_say(
    devices: list[str], answer: object
) -> None:
    tree = parse("$dev_util > 0.9")
    assert tree.variables == {"util[$dev]"}
    assert tree.per_device
    assert tree.evaluate(VALUES.get, devices) is answer


def test_a_device_of_which_a_part_is_unknown_leaves_the_answer_open() -> None:
    tree = parse("util[$dev] > 0.4 && iops[$dev] > 100")
    assert tree.evaluate(VALUES.get, ["sda"]) is None
    assert tree.evaluate({**VALUES, "iops[sdb]": 200.0}.get, ["sda", "sdb"]) is True


# --- any expression at all, beside an evaluator that shares nothing with ours

NAMES = ("a", "b", "c[sda]", "d")
_NUMBER = st.integers(0, 5).map(float) | st.sampled_from([0.25, 1e6])


def _numbers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.sampled_from("+-*/%"), inner, inner) | st.tuples(st.just("neg"), inner)


_ARITHMETIC = st.recursive(_NUMBER | st.sampled_from(NAMES), _numbers, max_leaves=6)
_COMPARISON = st.tuples(
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), _ARITHMETIC, _ARITHMETIC
)
_CONDITION = st.recursive(
    _COMPARISON,
    lambda inner: (
        st.tuples(st.sampled_from(["&&", "||", "==", "!="]), inner, inner)
        | st.tuples(st.just("!"), inner)
    ),
    max_leaves=6,
)
_KNOWN = st.dictionaries(
    st.sampled_from(NAMES), st.integers(-3, 3).map(float) | st.just(math.inf), max_size=4
)


def _written(node: Any) -> str:
    """With every parenthesis that there may be."""
    if isinstance(node, float):
        return repr(node)
    if isinstance(node, str):
        return node
    if len(node) == 2:
        return f"({'-' if node[0] == 'neg' else '!'}{_written(node[1])})"
    return f"({_written(node[1])} {node[0]} {_written(node[2])})"


def _reckoned(node: Any, known: dict[str, float]) -> Any:
    if isinstance(node, float):
        return node
    if isinstance(node, str):
        value = known.get(node)
        return None if value is None or not math.isfinite(value) else value
    sign, *operands = node
    sides = [_reckoned(side, known) for side in operands]
    if sign in ("&&", "||"):
        settles = sign == "||"
        if settles in sides:
            return settles
        return None if None in sides else not settles
    if None in sides:
        return None
    if sign in ("neg", "!"):
        return -sides[0] if sign == "neg" else not sides[0]
    if sign in ("/", "%") and sides[1] == 0:
        return None
    result = _PLAIN[sign](*sides)
    return result if math.isfinite(result) else None


_PLAIN: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other,
    "%": math.fmod,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
}


@settings(max_examples=200, deadline=None)
@given(node=_CONDITION, known=_KNOWN)
def test_any_expression_is_answered_as_a_plain_evaluator_does(
    node: Any, known: dict[str, float]
) -> None:
    assert parse(_written(node)).evaluate(known.get) is _reckoned(node, known)


@settings(max_examples=200, deadline=None)
@given(node=_CONDITION)
def test_what_is_printed_reads_as_the_same(node: Any) -> None:
    tree = parse(_written(node))
    again = parse(str(tree))
    assert str(again) == str(tree)
    assert _plain(again) == _plain(tree)
    assert again.variables == tree.variables


def _plain(tree: Tree) -> Any:
    def strip(node: Any) -> Any:
        if not isinstance(node, tuple):
            return node
        kind, parts = type(node).__name__, node[:-1]  # the last is the place
        return (kind, *map(strip, parts))

    return strip(tree.root)


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="ab1.5[]()!&|<>=+-*/% $\n\tKie_é", max_size=40) | st.text())
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    try:
        tree = parse(text)
    except ExpressionError as error:
        assert error.line >= 1
        assert error.column >= 1
    else:
        assert parse(str(tree)) == tree
