"""Conditions of rules, parsed once and asked often: `parse(text).evaluate(values)`.

The rule: three-valued. What is unknown stays unknown unless the answer does not depend on it
(unknown || true is true, unknown && false is false); division by zero, overflow and NaN are
unknown. Nothing is ever given to eval. Nodes become closures, so that asking costs calls only.
"""

import math
import operator as operators
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias, cast

from exporter.interference.syntax import (
    ANY_DEVICE,
    Binary,
    ExpressionError,
    Minus,
    Name,
    Node,
    Not,
    Number,
    read_nodes,
    show,
)

__all__ = ["ExpressionError", "Tree", "Values", "parse", "tree_of"]

Values: TypeAlias = Callable[[str], float | None]
"""A variable's value by its key ("cpu_avg", "diskio_util[sda]"); None where it is unknown."""
Answer: TypeAlias = bool | float | None
_Ask: TypeAlias = Callable[[Values], Answer]

_RECKON: Mapping[str, Callable[[float, float], float]] = {
    "+": operators.add,
    "-": operators.sub,
    "*": operators.mul,
    "/": operators.truediv,
    "%": math.fmod,  # the sign of the left, as C and Go have it
}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "==": operators.eq,
    "!=": operators.ne,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}


class Tree:
    """One expression. `variables` are the keys that it asks for, `name[$dev]` among them.
    `root` is for those who look into it (checks, words). Two that read alike are equal."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.names: tuple[Name, ...] = tuple(_names(root))
        self.variables: frozenset[str] = frozenset(name.key for name in self.names)
        self.per_device: bool = any(name.device == ANY_DEVICE for name in self.names)
        """Whether it speaks of `$dev`."""
        self._ask = _compiled(root)
        self._on: dict[str, Tree] = {}

    def evaluate(self, values: Values, devices: Sequence[str] = ()) -> bool | float | None:
        """None where it cannot be told. Per device: whether it holds for one of `devices`; one
        of which no variable with `$dev` is known is of another kind (a disk is no link) and has
        no say. Raises nothing that `values` does not."""
        if not self.per_device:
            return self._ask(values)
        answer: bool | None = None
        unknown = False
        for tree in map(self.on, devices):
            here = tree._ask(values)
            if here is True:
                return True
            if here is False:
                answer = False
            elif tree._known_in_part(values, self):
                unknown = True
        return None if unknown else answer

    def _known_in_part(self, values: Values, generic: "Tree") -> bool:
        """Whether one of the variables is known that `generic` has with `$dev`."""
        return any(
            values(own.key) is not None
            for own, name in zip(self.names, generic.names, strict=True)
            if name.device == ANY_DEVICE
        )

    def on(self, device: str) -> "Tree":
        """With that device for `$dev`. Kept: devices are few."""
        if not self.per_device:
            return self
        tree = self._on.get(device)
        if tree is None:
            tree = self._on[device] = self.renamed(
                lambda name: name._replace(device=device) if name.device == ANY_DEVICE else name
            )
        return tree

    def renamed(self, change: Callable[[Name], Name]) -> "Tree":
        """With other variables in the same places."""
        return Tree(_renamed(self.root, change))

    def __str__(self) -> str:
        return show(self.root)

    def __repr__(self) -> str:
        return f"Tree({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse(text: str) -> Tree:
    """The expression's tree, whatever variables it names (expression_check.py knows them).
    Raises ExpressionError with line and column."""
    return Tree(read_nodes(text))


@lru_cache(maxsize=4096)
def tree_of(node: Node) -> Tree:
    """The tree of a part of another, made once: findings tell of parts, again and again."""
    return Tree(node)


def _names(node: Node) -> Iterator[Name]:
    match node:
        case Name():
            yield node
        case Not(operand=operand) | Minus(operand=operand):
            yield from _names(operand)
        case Binary(left=left, right=right):
            yield from _names(left)
            yield from _names(right)


def _renamed(node: Node, change: Callable[[Name], Name]) -> Node:
    match node:
        case Name():
            return change(node)
        case Not() | Minus():
            return node._replace(operand=_renamed(node.operand, change))
        case Binary():
            left, right = _renamed(node.left, change), _renamed(node.right, change)
            return node._replace(left=left, right=right)
    return node


def _compiled(node: Node) -> _Ask:
    match node:
        case Number(value=value):
            return lambda _: value
        case Name():
            return _value_of(node.key)
        case Not(operand=operand):
            return _opposite(_compiled(operand))
        case Minus(operand=operand):
            return _negative(_compiled(operand))
        case Binary(operator="&&"):
            return _joined(_compiled(node.left), _compiled(node.right), decides=False)
        case Binary(operator="||"):
            return _joined(_compiled(node.left), _compiled(node.right), decides=True)
        case Binary(operator=sign) if sign in _COMPARE:
            return _compared(_COMPARE[sign], node)
        case Binary(operator=sign):
            return _reckoned(_RECKON[sign], _compiled(node.left), _compiled(node.right))


def _value_of(key: str) -> _Ask:
    def ask(values: Values) -> Answer:
        value = values(key)
        return value if value is None or math.isfinite(value) else None

    return ask


def _opposite(operand: _Ask) -> _Ask:
    def ask(values: Values) -> Answer:
        answer = operand(values)
        return None if answer is None else not answer

    return ask


def _negative(operand: _Ask) -> _Ask:
    def ask(values: Values) -> Answer:
        answer = operand(values)
        return None if answer is None else -answer

    return ask


def _joined(left: _Ask, right: _Ask, decides: bool) -> _Ask:
    """`decides`: the answer of one side that settles it, whatever the other's."""

    def ask(values: Values) -> Answer:
        first = left(values)
        if first is not None and bool(first) is decides:
            return decides
        second = right(values)
        if second is not None and bool(second) is decides:
            return decides
        return None if first is None or second is None else not decides

    return ask


def _compared(compare: Callable[[float, float], bool], node: Binary) -> _Ask:
    """Most comparisons are of a variable with a number: that one has a short way."""
    if isinstance(node.left, Name) and isinstance(node.right, Number):
        key, bound = node.left.key, node.right.value

        def ask_one(values: Values) -> Answer:
            value = values(key)
            return compare(value, bound) if value is not None and math.isfinite(value) else None

        return ask_one
    left, right = _compiled(node.left), _compiled(node.right)

    def ask(values: Values) -> Answer:
        one, other = left(values), right(values)
        return None if one is None or other is None else compare(one, other)

    return ask


def _reckoned(reckon: Callable[[float, float], float], left: _Ask, right: _Ask) -> _Ask:
    def ask(values: Values) -> Answer:
        one, other = cast(float | None, left(values)), cast(float | None, right(values))
        if one is None or other is None:
            return None
        try:
            result = reckon(one, other)
        except (ZeroDivisionError, ValueError, OverflowError):  # fmod(x, 0) is a ValueError
            return None
        return result if math.isfinite(result) else None

    return ask
