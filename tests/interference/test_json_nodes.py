"""JSON with lines: as the standard library reads it, and refusals with their place."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.tree import Limits, ListNode, MapNode, Node, ScalarNode
from exporter.errors import ConfigError
from exporter.interference.json_nodes import parse_json

_TEXT = st.text(st.characters(codec="utf-8"))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def value_of(node: Node) -> Any:
    if isinstance(node, ListNode):
        return [value_of(item) for item in node.items]
    if isinstance(node, MapNode):
        return {value_of(key): value_of(value) for key, value in node.entries}
    return json.loads(node.text) if node.plain else node.text


@settings(max_examples=150, deadline=None)
@given(value=_VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_what_json_writes_is_read_as_it_was(value: Any, ascii_only: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert value_of(parse_json(text.encode(), "f")) == value


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet='{}[]:,"\\ntrue0.-e1/ \n', max_size=24))
def test_what_json_refuses_is_refused_with_its_line(text: str) -> None:
    try:
        want = json.loads(text, parse_constant=lambda word: 1 / 0)
    except (ValueError, ZeroDivisionError):
        with pytest.raises(ConfigError) as caught:
            parse_json(text.encode(), "f")
        assert caught.value.problems[0].line >= 1
    else:
        found = value_of(parse_json(text.encode(), "f"))
        assert found == want


def test_every_node_knows_its_line() -> None:
    node = parse_json(b'{\n "a":\n  [1,\n   "x"],\n "b": {}}', "f")
    assert isinstance(node, MapNode)
    (_, listed), (key, _) = node.entries
    assert isinstance(listed, ListNode)
    assert [item.line for item in listed.items] == [3, 4]
    assert key == ScalarNode(5, "b", plain=False)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"[" * 100, "f:1: nested too deep, want at most 64 levels in column 65"),
        (b"[1, 2, 3, 4, 5]", "f:1: too much, want at most 5 nodes in column 14"),
        (b'"\xff"', "f:1: not UTF-8, got byte 0xff in column 2"),
        (b'"\\ud800"', "f:1: not JSON: half a surrogate pair is no character in column 1"),
        (
            b'"a\nb"',
            "f:1: not JSON: a string without its end, or with a control character in column 1",
        ),
        (b'"\\q"', "f:1: not JSON: a string with an unknown escape in column 1"),
        (b"[1 2]", 'f:1: not JSON: got "2", want , or ] in column 4'),
        (b"\n {1: 2}", 'f:2: not JSON: got "1", want a key in double quotes in column 3'),
        (b"Infinity", 'f:1: not JSON: got "I", want a value in column 1'),
        (b"", "f:1: not JSON: got the end, want a value in column 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(data: bytes, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_json(data, "f", Limits(bytes=1000, nodes=5 if b"5" in data else 1000))
    assert str(caught.value) == text
