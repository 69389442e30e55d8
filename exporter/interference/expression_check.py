"""What is wrong with an expression before it is ever asked: names, types, units, comparisons.

The rule: only what cannot be meant is a complaint. Pure: knows variables.py, no file and no value.
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from exporter.config.wording import guess
from exporter.interference.expression import Tree
from exporter.interference.model import Scope
from exporter.interference.syntax import (
    ANY_DEVICE,
    Binary,
    Minus,
    Name,
    Node,
    Not,
    Number,
    Place,
    show,
)
from exporter.interference.variables import VARIABLES, Variable

Kind = Literal["unknown", "type", "unit", "range"]
_JOINING = ("&&", "||")
_EQUALS = ("==", "!=")
_RECKONING = ("+", "-", "*", "/", "%")
# load_avg > 2 * cpu_request is a fair question; what is in its own unit fits all
_SAME_AS: Mapping[str, str | None] = {"cores": "count", "its own": None}
_SCOPES: Mapping[Scope, str] = {"node": "nodes", "container": "containers", "app": "jobs"}
_ANY = (-math.inf, math.inf)


class Complaint(NamedTuple):
    """`kind` unknown: a variable that nobody has, or not in this scope. `at` is within the
    expression's text."""

    kind: Kind
    at: Place
    text: str


class _Meaning(NamedTuple):
    """What a node is: a boolean, or a number of `unit` (None: fits all) from `low` to `high`.
    `broken`: already complained of, so nothing that is built on it is."""

    boolean: bool
    unit: str | None = None
    low: float = -math.inf
    high: float = math.inf
    broken: bool = False


_TRUTH = _Meaning(True)
_BROKEN = _Meaning(False, broken=True)


def known_in(scope: Scope) -> Mapping[str, Variable]:
    return {variable.name: variable for variable in VARIABLES if variable.scope == scope}


def unknown_name(name: str, scope: Scope) -> str:
    """Why there is no such variable in the scope, with what may have been meant."""
    near = guess(name, known_in(scope))
    elsewhere = [_SCOPES[variable.scope] for variable in VARIABLES if variable.name == name]
    if elsewhere:
        return f"{name} is a variable of {elsewhere[0]}, not of {_SCOPES[scope]}{near}"
    return f"unknown variable {name[:60]}{near}"


def check(tree: Tree, scope: Scope) -> list[Complaint]:
    """All that is wrong with a condition, in the text's order; empty if it can be asked."""
    checker = _Checker(scope)
    meaning = checker.meaning(tree.root)
    if not meaning.boolean and not meaning.broken:
        text = f"{show(tree.root)[:60]} is a number, want a condition such as {_example(tree)}"
        checker.complain("type", Place(1, 1), text)
    return sorted(checker.found, key=lambda complaint: complaint.at)


def _example(tree: Tree) -> str:
    return f"{tree.names[0].key} > 0.9" if tree.names else "cpu_avg > 0.9"


class _Checker:
    def __init__(self, scope: Scope) -> None:
        self.found: list[Complaint] = []
        self._scope: Scope = scope
        self._known = known_in(scope)

    def complain(self, kind: Kind, at: Place, text: str) -> _Meaning:
        self.found.append(Complaint(kind, at, text))
        return _BROKEN

    def meaning(self, node: Node) -> _Meaning:
        match node:
            case Number(value=value):
                return _Meaning(False, None, value, value)
            case Name():
                return self._variable(node)
            case Not(operand=operand):
                return self._truth(operand, "!") or _TRUTH
            case Minus(operand=operand):
                number = self._number(operand, "-")
                if number.broken:
                    return number
                return number._replace(low=-number.high, high=-number.low)
            case Binary(operator=sign) if sign in _JOINING:
                broken = [self._truth(side, sign) for side in (node.left, node.right)]
                return next((side for side in broken if side), _TRUTH)
            case Binary(operator=sign) if sign in _RECKONING:
                return self._reckoned(node)
            case Binary():
                return self._compared(node)

    def _variable(self, node: Name) -> _Meaning:
        variable = self._known.get(node.name)
        if variable is None:
            return self.complain("unknown", node.at, unknown_name(node.name, self._scope))
        if node.device is not None and not variable.per_device:
            shown = "$dev" if node.device == ANY_DEVICE else f"[{node.device}]"
            return self.complain("unknown", node.at, f"{node.name} is not known by device: {shown}")
        return _Meaning(
            False,
            _SAME_AS.get(variable.unit, variable.unit),
            -math.inf if variable.low is None else variable.low,
            math.inf if variable.high is None else variable.high,
        )

    def _truth(self, node: Node, sign: str) -> _Meaning | None:
        """None if it is one."""
        meaning = self.meaning(node)
        if meaning.boolean:
            return None
        if meaning.broken:
            return meaning
        text = f"{show(node)[:60]} is a number, {sign} wants true or false"
        return self.complain("type", _begin(node), text)

    def _number(self, node: Node, sign: str) -> _Meaning:
        meaning = self.meaning(node)
        if not meaning.boolean:
            return meaning
        text = f"{show(node)[:60]} is true or false, {sign} wants a number"
        return self.complain("type", _begin(node), text)

    def _reckoned(self, node: Binary) -> _Meaning:
        left = self._number(node.left, node.operator)
        right = self._number(node.right, node.operator)
        if left.broken or right.broken:
            return _BROKEN
        if node.operator in ("+", "-", "%"):
            if not _alike(left, right):
                return self._mixed(node, left, right)
            unit = left.unit or right.unit
        elif node.operator == "*":
            plain = [side for side in (left, right) if side.unit in (None, "ratio", "count")]
            unit = (right if plain[0] is left else left).unit if plain else None
        else:
            same = left.unit is not None and left.unit == right.unit
            unit = "ratio" if same else left.unit if right.unit is None else None
        if node.operator in ("/", "%") and right.low == right.high == 0:
            return self.complain("range", node.at, "divides by zero, which is never known")
        low, high = _bounds(node.operator, left, right)
        return _Meaning(False, unit, low, high)

    def _mixed(self, node: Binary, left: _Meaning, right: _Meaning) -> _Meaning:
        text = (
            f"{node.operator} between {left.unit} ({show(node.left)[:60]}) "
            f"and {right.unit} ({show(node.right)[:60]})"
        )
        return self.complain("unit", node.at, text)

    def _compared(self, node: Binary) -> _Meaning:
        left, right = self.meaning(node.left), self.meaning(node.right)
        if left.broken or right.broken:
            return _BROKEN
        if left.boolean and right.boolean and node.operator in _EQUALS:
            return _TRUTH
        if left.boolean or right.boolean:
            wrong = node.left if left.boolean else node.right
            text = f"{show(wrong)[:60]} is true or false, {node.operator} wants a number"
            return self.complain("type", _begin(wrong), text)
        if not _alike(left, right):
            return self._mixed(node, left, right)
        fate = _fate(node.operator, left, right)
        if fate is not None:
            self.complain("range", node.at, _impossible(node, left, right, fate))
        return _TRUTH


def _alike(left: _Meaning, right: _Meaning) -> bool:
    return left.unit is None or right.unit is None or left.unit == right.unit


def _begin(node: Node) -> Place:
    return _begin(node.left) if isinstance(node, Binary) else node.at


def _bounds(sign: str, left: _Meaning, right: _Meaning) -> tuple[float, float]:
    if sign == "+":
        return left.low + right.low, left.high + right.high
    if sign == "-":
        return left.low - right.high, left.high - right.low
    if sign == "%" or (sign == "/" and right.low <= 0 <= right.high):
        return _ANY
    corners = [
        _corner(sign, one, other)
        for one in (left.low, left.high)
        for other in (right.low, right.high)
    ]
    return min(corners), max(corners)


def _corner(sign: str, one: float, other: float) -> float:
    if sign == "/":
        return 0.0 if math.isinf(other) else one / other
    return 0.0 if 0.0 in (one, other) else one * other  # 0 × ∞ is the bound 0 here


def _fate(sign: str, left: _Meaning, right: _Meaning) -> bool | None:
    """True: always holds; False: never; None: it depends."""
    match sign:
        case ">" | "<=":
            greater = True if left.low > right.high else False if left.high <= right.low else None
            return greater if sign == ">" or greater is None else not greater
        case "<" | ">=":
            less = True if left.high < right.low else False if left.low >= right.high else None
            return less if sign == "<" or less is None else not less
    equal: bool | None = None
    if left.low > right.high or left.high < right.low:
        equal = False
    elif left.low == left.high == right.low == right.high:
        equal = True
    return equal if sign == "==" or equal is None else not equal


def _impossible(node: Binary, left: _Meaning, right: _Meaning, fate: bool) -> str:
    always = "always" if fate else "never"
    text = f"{show(node)[:80]} {always} holds"
    for side, meaning, other in ((node.left, left, right), (node.right, right, left)):
        if isinstance(side, Name):
            text += f": {side.key} is {_range(meaning)}"
            if meaning.unit == "ratio" and other.low == other.high and 5 <= other.low <= 100:
                text += f" (did you mean {other.low / 100:.4g}?)"
    return text


def _range(meaning: _Meaning) -> str:
    if math.isinf(meaning.high):
        return f"at least {meaning.low:g}"
    if math.isinf(meaning.low):
        return f"at most {meaning.high:g}"
    return f"from {meaning.low:g} to {meaning.high:g}"
