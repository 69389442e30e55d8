"""Text of an expression to its nodes: lexer and parser of the C-like language that rules speak.

    || && ! == != < <= > >= + - * / % ( ) numbers names name[device] $dev_name

The rule: precedence is C's, nesting and length are bounded, and every refusal names line and
column. Knows no variables, types or values: expression.py and expression_check.py do.
"""

import re
from typing import NamedTuple, NoReturn, TypeAlias

from exporter.errors import KernmeshError

MAX_DEPTH = 32
MAX_HEIGHT = 150
MAX_LENGTH = 10_000
ANY_DEVICE = "$dev"
"""As a device: the expression is asked of each device, and holds where it does for one."""


class ExpressionError(KernmeshError):
    """`line` and `column` count from 1 within the expression's own text."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        self.line, self.column, self.problem = line, column, problem
        place = f"column {column}" if line == 1 else f"line {line}, column {column}"
        super().__init__(f"{problem} in {place}")


class Place(NamedTuple):
    line: int
    column: int


class Number(NamedTuple):
    value: float
    at: Place


class Name(NamedTuple):
    """`device` None where none is named, ANY_DEVICE for `$dev`."""

    name: str
    device: str | None
    at: Place

    @property
    def key(self) -> str:
        """As values are asked for: "diskio_util" or "diskio_util[sda]"."""
        return self.name if self.device is None else f"{self.name}[{self.device}]"


class Not(NamedTuple):
    operand: "Node"
    at: Place


class Minus(NamedTuple):
    operand: "Node"
    at: Place


class Binary(NamedTuple):
    operator: str
    left: "Node"
    right: "Node"
    at: Place


Node: TypeAlias = Number | Name | Not | Minus | Binary

# loosest first; operators of one level are taken from the left
LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("==", "!="),
    ("<", "<=", ">", ">="),
    ("+", "-"),
    ("*", "/", "%"),
)
_SUFFIXES = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(?P<suffix>[A-Za-z_]\w*)?"
    r"|(?P<name>\$dev_[A-Za-z_]\w*|[A-Za-z_]\w*)(?:\[(?P<device>[^\[\]\n]*)\])?"
    r"|(?P<sign>\|\||&&|==|!=|<=|>=|[-+*/%<>!()])",
    re.ASCII,
)
_DEVICE = re.compile(r"\$dev|[A-Za-z0-9_.:@/-]{1,128}", re.ASCII)
_MEANT = {"=": "==", "&": "&&", "|": "||"}
_WORDS = {"and": "&&", "or": "||", "not": "!"}


class _Token(NamedTuple):
    """`node` is what a number or a name is; None for signs and the end (text "")."""

    text: str
    node: Node | None
    at: Place


def read_nodes(text: str) -> Node:
    """Raises ExpressionError."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(1, 1, f"is too long, want at most {MAX_LENGTH} characters")
    return _Parser(_tokens(text)).whole()


def show(node: Node) -> str:
    """Text that reads as the same nodes; parentheses only where they are needed."""
    return _show(node, 0)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    offset, line, begin = 0, 1, 0
    while offset < len(text):
        at = Place(line, offset - begin + 1)
        if text[offset].isspace():
            if text[offset] == "\n":
                line, begin = line + 1, offset + 1
            offset += 1
            continue
        match = _TOKEN.match(text, offset)
        if match is None:
            _refuse_sign(text[offset], at)
        found.append(_Token(match.group(), _leaf(match, at), at))
        offset = match.end()
    found.append(_Token("", None, Place(line, offset - begin + 1)))
    return found


def _leaf(match: re.Match[str], at: Place) -> Node | None:
    if number := match["number"]:
        suffix = match["suffix"]
        if suffix and suffix not in _SUFFIXES:
            units = ", ".join(_SUFFIXES)
            raise ExpressionError(
                *at, f"unknown unit, got {match.group()[:40]}, want a number, or one with {units}"
            )
        value = float(number) * _SUFFIXES.get(suffix or "", 1.0)
        if value == float("inf"):
            raise ExpressionError(*at, f"number too large, got {number[:40]}")
        return Number(value, at)
    name, device = match["name"], match["device"]
    if name is None:
        return None
    if name.startswith("$dev_"):
        if device is not None:
            raise ExpressionError(*at, f"two devices, got {match.group()[:60]}, want one")
        return Name(name.removeprefix("$dev_"), ANY_DEVICE, at)
    if name in _WORDS:
        raise ExpressionError(*at, f"not an operator, got {name} (did you mean {_WORDS[name]}?)")
    if device is not None and not _DEVICE.fullmatch(device):
        raise ExpressionError(*at, f"no device's name in the brackets, got {device[:40]!r}")
    return Name(name, device, at)


def _refuse_sign(sign: str, at: Place) -> NoReturn:
    hint = f" (did you mean {_MEANT[sign]}?)" if sign in _MEANT else ""
    raise ExpressionError(*at, f"not of this language, got {sign!r}{hint}")


class _Parser:
    """Recursive descent. With each node goes its height: what is built of it, and asks it, recurses
    too, and a chain of operators is as high as it is long."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        if len(self._tokens) == 1:
            raise ExpressionError(1, 1, "is empty, want a condition")
        node, _ = self._level(0)
        token = self._tokens[self._next]
        if token.text:
            raise self._unexpected(token, "an operator")
        return node

    def _level(self, level: int) -> tuple[Node, int]:
        if level == len(LEVELS):
            return self._one()
        node, height = self._level(level + 1)
        while (token := self._tokens[self._next]).text in LEVELS[level] and token.node is None:
            self._next += 1
            right, right_height = self._level(level + 1)
            node, height = Binary(token.text, node, right, token.at), 1 + max(height, right_height)
            if height > MAX_HEIGHT:
                raise ExpressionError(
                    *token.at, f"too much, want at most {MAX_HEIGHT} operators one upon the other"
                )
        return node, height

    def _one(self) -> tuple[Node, int]:
        token = self._tokens[self._next]
        self._next += 1
        if token.node is not None:
            return token.node, 1
        if token.text not in ("!", "-", "("):
            raise self._unexpected(token, "a number, a variable or (")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(*token.at, f"nested too deep, want at most {MAX_DEPTH} levels")
        if token.text == "(":
            inner = self._level(0)
            closing = self._tokens[self._next]
            if closing.text != ")":
                raise self._unexpected(closing, "an operator or )")
            self._next += 1
        else:
            operand, height = self._one()
            negated = Not(operand, token.at) if token.text == "!" else Minus(operand, token.at)
            inner = negated, height + 1
        self._depth -= 1
        return inner

    def _unexpected(self, token: _Token, want: str) -> ExpressionError:
        got = token.text[:40] if token.text else "the end"
        return ExpressionError(*token.at, f"got {got}, want {want}")


def _show(node: Node, level: int) -> str:
    match node:
        case Number(value=value):
            return repr(value).removesuffix(".0")
        case Name():
            return node.key
        case Not(operand=operand):
            return f"!{_show(operand, len(LEVELS))}"
        case Minus(operand=operand):
            return f"-{_show(operand, len(LEVELS))}"
        case Binary(operator=operator, left=left, right=right):
            own = next(i for i, level_ in enumerate(LEVELS) if operator in level_)
            text = f"{_show(left, own)} {operator} {_show(right, own + 1)}"
            return f"({text})" if own < level else text
