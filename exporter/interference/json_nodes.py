"""JSON text to the nodes that configuration is read from, so that its problems have lines too.

RFC 8259, nothing more: no comments, no commas at the end, no NaN. Depth and node count are bounded
as YAML's are. Knows no rules.
"""

import json
import re
from typing import NoReturn

from exporter.config.source import check_text
from exporter.config.tree import DEFAULT_LIMITS, Limits, ListNode, MapNode, Node, ScalarNode
from exporter.errors import ConfigError, Problem

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD = re.compile(r"[A-Za-z]+", re.ASCII)
_WORDS = frozenset(("true", "false", "null"))


def parse_json(data: bytes, file: str, limits: Limits = DEFAULT_LIMITS) -> Node:
    """The one value in `data`. Raises ConfigError with one Problem, which names line and column."""
    check_text(data, file, limits.bytes)
    reader = _Reader(data.decode(), file, limits)
    node = reader.value()
    reader.end()
    return node


class _Reader:
    def __init__(self, text: str, file: str, limits: Limits) -> None:
        self._text, self._file, self._limits = text, file, limits
        self._at = 0
        self._depth = 0
        self._nodes = 0
        self._line, self._line_at = 1, 0  # the line of an offset, counted once

    def value(self) -> Node:
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            self._fail(f"too much, want at most {self._limits.nodes} nodes")
        sign = self._peek()
        line = self._line_here()
        if sign == '"':
            return ScalarNode(line, self._string(), plain=False)
        if sign in ("{", "["):
            self._depth += 1
            if self._depth > self._limits.depth:
                self._fail(f"nested too deep, want at most {self._limits.depth} levels")
            node = self._map(line) if sign == "{" else self._list(line)
            self._depth -= 1
            return node
        match = _NUMBER.match(self._text, self._at) or _WORD.match(self._text, self._at)
        if match is None or (match.group()[0].isalpha() and match.group() not in _WORDS):
            self._unexpected("a value")
        self._at = match.end()
        return ScalarNode(line, match.group(), plain=True)

    def end(self) -> None:
        if self._peek():
            self._unexpected("the end")

    def _map(self, line: int) -> MapNode:
        node = MapNode(line, [])
        self._at += 1
        if self._peek() == "}":
            self._at += 1
            return node
        while True:
            if self._peek() != '"':
                self._unexpected("a key in double quotes")
            key = ScalarNode(self._line_here(), self._string(), plain=False)
            if self._peek() != ":":
                self._unexpected(":")
            self._at += 1
            node.entries.append((key, self.value()))
            if not self._more("}"):
                return node

    def _list(self, line: int) -> ListNode:
        node = ListNode(line, [])
        self._at += 1
        if self._peek() == "]":
            self._at += 1
            return node
        while True:
            node.items.append(self.value())
            if not self._more("]"):
                return node

    def _more(self, closing: str) -> bool:
        sign = self._peek()
        if sign not in (",", closing):
            self._unexpected(f", or {closing}")
        self._at += 1
        if sign == "," and self._peek() == closing:
            self._unexpected("another after the comma")
        return sign == ","

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            self._fail("not JSON: a string without its end, or with a control character")
        try:
            text = str(json.loads(match.group()))
        except json.JSONDecodeError:
            self._fail("not JSON: a string with an unknown escape")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            self._fail("not JSON: half a surrogate pair is no character")
        self._at = match.end()
        return text

    def _peek(self) -> str:
        """The next sign that is no blank; "" at the end."""
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._line_at, self._at)
        self._line_at = self._at
        return self._line

    def _unexpected(self, want: str) -> NoReturn:
        found = self._text[self._at : self._at + 1]
        if found in ("/", "#"):
            self._fail("not JSON: got a comment, which JSON has none of")
        shown = json.dumps(found, ensure_ascii=not found.isprintable()) if found else "the end"
        self._fail(f"not JSON: got {shown}, want {want}")

    def _fail(self, text: str) -> NoReturn:
        column = self._at - (self._text.rfind("\n", 0, self._at) + 1) + 1
        line = self._text.count("\n", 0, self._at) + 1
        raise ConfigError([Problem(self._file, line, "", f"{text} in column {column}")])
