"""Nodes to frozen structs: each scalar is read from its text, by the type of the field it is for.

Finds every problem, not the first. Knows types and nodes; no file, no particular configuration.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, Literal, NamedTuple, Protocol, cast

from msgspec import Struct, inspect

from exporter.config.fromtext import read_scalar
from exporter.config.tree import ListNode, MapNode, Node, ScalarNode
from exporter.config.wording import KeyPath, got, guess, is_null, nothing, quote, show_path, want
from exporter.errors import Problem

MAX_PROBLEMS = 100


class Fault(NamedTuple):
    """A rule across fields that a struct's values break. `path` is the key to blame, relative to
    the struct; `also` are the others that the rule looked at. If one of them could not be read,
    the fault is dropped: it speaks of a default that nobody wrote. `got` None is not shown."""

    path: KeyPath
    problem: str
    got: object = None
    want: str = ""
    also: tuple[KeyPath, ...] = ()

    def text(self, given: bool) -> str:
        """One line; `given` says whether the file has the key, or its default is what counts."""
        text = self.problem
        if self.got is not None:
            shown = quote(self.got) if isinstance(self.got, str) else str(self.got)
            shown = shown.removesuffix(".0")  # whoever wrote 70 reads 70
            text += f", got {shown}" if given else f", got {shown} (the default)"
        return f"{text}, want {self.want}" if self.want else text


def doubles(values: Sequence[str]) -> list[int]:
    """Where a value stands that stood before."""
    first: dict[str, int] = {}
    return [i for i, value in enumerate(values) if first.setdefault(value, i) != i]


class Checked(Protocol):
    """A struct that has rules of its own; asked once it is built."""

    def faults(self) -> Iterable[Fault]: ...


class _Broken:
    """Stands for a value that could not be read; its problem is noted."""


_BROKEN: Final = _Broken()


class Conversion(NamedTuple):
    """`value` is None only if something required is missing or wrong; then there are problems."""

    value: Any
    problems: list[Problem]


def convert(
    node: Node | None,
    type_: type,
    file: str,
    unknown: Literal["error", "ignore"] = "error",
    nulls: Literal["error", "default"] = "error",
) -> Conversion:
    """Reads `node` as `type_`, a struct. No node, or null, is a map without keys.

    `nulls="default"` takes `key:` without a value for an absent key, as Go's readers do."""
    reader = _Reader(file, unknown, nulls)
    if node is None or is_null(node):
        node = MapNode(node.line if node else 1, [])
    value = reader.read(_type_info(type_), node, ())
    problems = sorted(reader.problems, key=lambda problem: problem.line)
    if reader.found > len(problems):
        more = reader.found - len(problems)
        problems.append(Problem(file, 0, "", f"{more} more problems are not shown"))
    return Conversion(None if isinstance(value, _Broken) else value, problems)


@cache
def _type_info(type_: type) -> inspect.Type:
    return inspect.type_info(type_)


class _Reader:
    """`problems` are the first MAX_PROBLEMS, `found` counts all of them."""

    def __init__(self, file: str, unknown: str, nulls: str) -> None:
        self.problems: list[Problem] = []
        self.found = 0
        self._file = file
        self._ignore_unknown = unknown == "ignore"
        self._null_is_default = nulls == "default"
        self._broken: list[KeyPath] = []

    def read(self, info: inspect.Type, node: Node, path: KeyPath) -> Any:
        """The value, or _BROKEN once its problem is noted."""
        match info:
            case inspect.Metadata():
                return self._meta(info, node, path)
            case inspect.UnionType():
                return self._union(info, node, path)
            case inspect.StructType() if isinstance(node, MapNode):
                return self._struct(info, node, path)
            case inspect.VarTupleType() | inspect.ListType() if isinstance(node, ListNode):
                return self._list(info, node, path)
            case inspect.DictType() if isinstance(node, MapNode):
                return self._dict(info, node, path)
            case inspect.NoneType() if is_null(node):
                return None
            case inspect.AnyType():  # not ours to read: it is there, whatever is in it
                return None
        if is_null(node):
            return self._problem(node.line, path, nothing(node, info))
        if not isinstance(node, ScalarNode) or _is_nested(info):
            return self._problem(node.line, path, f"wrong kind, got {got(node)}, want {want(info)}")
        return self._scalar(info, node, path)

    def _scalar(self, info: inspect.Type, node: ScalarNode, path: KeyPath) -> Any:
        try:
            return read_scalar(info, node.text)
        except ValueError as error:
            reason = f"{error}, got {got(node)}, want {want(info)}{_hint(info, node)}"
            return self._problem(node.line, path, reason)

    def _meta(self, info: inspect.Metadata, node: Node, path: KeyPath) -> Any:
        if (
            info.extra
            and "want" in info.extra
            and isinstance(node, ScalarNode)
            and not is_null(node)
        ):
            try:
                return read_scalar(info.type, node.text)
            except ValueError as error:
                reason = f"{error}, got {got(node)}, want {want(info)}"
                return self._problem(node.line, path, reason)
        return self.read(info.type, node, path)

    def _union(self, info: inspect.UnionType, node: Node, path: KeyPath) -> Any:
        if is_null(node) and any(isinstance(t, inspect.NoneType) for t in info.types):
            return None
        fitting = [t for t in info.types if _fits(t, node)]
        if len(fitting) == 1 and not isinstance(node, ScalarNode):
            return self.read(fitting[0], node, path)
        if is_null(node):
            return self._problem(node.line, path, nothing(node, info))
        reason, hint = "wrong kind", ""
        if isinstance(node, ScalarNode):
            for candidate in fitting:
                try:
                    return read_scalar(candidate, node.text)
                except ValueError as error:
                    reason, hint = str(error), hint or _hint(candidate, node)
        return self._problem(node.line, path, f"{reason}, got {got(node)}, want {want(info)}{hint}")

    def _list(self, info: inspect.CollectionType, node: ListNode, path: KeyPath) -> Any:
        values = [self.read(info.item_type, item, (*path, i)) for i, item in enumerate(node.items)]
        if info.min_length is not None and len(values) < info.min_length:
            at_least = f"is too short, got {len(values)}, want {info.min_length} or more"
            return self._problem(
                node.line, path, at_least if values else "is an empty list, want one or more"
            )
        if any(value is _BROKEN for value in values):
            return _BROKEN
        return values if isinstance(info, inspect.ListType) else tuple(values)

    def _dict(self, info: inspect.DictType, node: MapNode, path: KeyPath) -> Any:
        values: dict[Any, Any] = {}
        for key, (key_node, value) in self._entries(node, path).items():
            name = self.read(info.key_type, key_node._replace(plain=False), (*path, key))
            if (
                is_null(value)
                and self._null_is_default
                and _bare(info.value_type) is inspect.StrType
            ):
                values[name] = ""
            else:
                values[name] = self.read(info.value_type, value, (*path, key))
        if any(part is _BROKEN for pair in values.items() for part in pair):
            return _BROKEN
        return values

    def _struct(self, info: inspect.StructType, node: MapNode, path: KeyPath) -> Any:
        fields = _fields(info.cls)
        entries = self._entries(node, path)
        values: dict[str, Any] = {}
        whole = True
        for key, (key_node, value) in entries.items():
            field = fields.get(key)
            if field is None:
                self._unknown(key, key_node.line, path, fields, entries)
                continue
            if self._null_is_default and not field.required and is_null(value):
                continue
            read = self.read(field.type, value, (*path, key))
            if read is not _BROKEN:
                values[field.name] = read
            else:
                whole = whole and not field.required
        for field in fields.values():
            if field.required and field.encode_name not in entries:
                whole = False
                where = (*path, field.encode_name)
                self._problem(node.line, where, f"is missing, want {want(field.type)}")
        if not whole:
            return _BROKEN
        built = info.cls(**values)
        if hasattr(info.cls, "faults"):  # isinstance(built, Checked) takes longer than all else
            for fault in cast(Checked, built).faults():
                self._fault(fault, node, path)
        return built

    def _unknown(
        self, key: str, line: int, path: KeyPath, fields: Iterable[str], there: Iterable[str]
    ) -> None:
        if self._ignore_unknown:
            return
        hint = ""
        if self.found < MAX_PROBLEMS:  # the guess costs more than all else
            free = sorted(set(fields) - set(there))
            hint = guess(key, free) or f", want {', '.join(fields)}"
        self._problem(line, (*path, key), f"unknown key{hint}")

    def _entries(self, node: MapNode, path: KeyPath) -> dict[str, tuple[ScalarNode, Node]]:
        """Key text → (key, value) in file order, `<<` merged: own keys win over merged ones."""
        own: dict[str, tuple[ScalarNode, Node]] = {}
        merged: list[MapNode] = []
        for key, value in node.entries:
            if not isinstance(key, ScalarNode):
                self._problem(key.line, path, f"a key is {got(key)}, want text")
            elif key.plain and key.text == "<<":
                sources = value.items if isinstance(value, ListNode) else [value]
                merged += (source for source in sources if isinstance(source, MapNode))
                if not all(isinstance(source, MapNode) for source in sources):
                    self._problem(key.line, (*path, "<<"), f"got {got(value)}, want a map to merge")
            elif key.text in own:
                first = own[key.text][0].line
                self._problem(key.line, (*path, key.text), f"is there twice, first in line {first}")
            else:
                own[key.text] = (key, value)
        for source in merged:
            for name, entry in self._entries(source, path).items():
                own.setdefault(name, entry)
        return own

    def _fault(self, fault: Fault, node: Node, path: KeyPath) -> None:
        involved = [(*path, *relative) for relative in (fault.path, *fault.also)]
        if not any(_related(broken, where) for broken in self._broken for where in involved):
            line, given = find_line(node, fault.path)
            self._problem(line, involved[0], fault.text(given), breaks=False)

    def _problem(self, line: int, path: KeyPath, text: str, breaks: bool = True) -> _Broken:
        self.found += 1
        if self.found <= MAX_PROBLEMS:
            self.problems.append(Problem(self._file, line, show_path(path), text))
            if breaks:
                self._broken.append(path)
        return _BROKEN


def _bare(info: inspect.Type) -> type[inspect.Type]:
    return _bare(info.type) if isinstance(info, inspect.Metadata) else type(info)


def _hint(info: inspect.Type, node: ScalarNode) -> str:
    known = info.values if isinstance(info, inspect.LiteralType) else ()
    return guess(node.text, map(str, known))


def _is_nested(info: inspect.Type) -> bool:
    return isinstance(info, inspect.StructType | inspect.CollectionType | inspect.DictType)


def _fits(info: inspect.Type, node: Node) -> bool:
    if isinstance(info, inspect.Metadata):
        return _fits(info.type, node)
    if isinstance(node, ListNode):
        return isinstance(info, inspect.CollectionType)
    if isinstance(node, MapNode):
        return isinstance(info, inspect.StructType | inspect.DictType)
    return not _is_nested(info) and not isinstance(info, inspect.NoneType)


@cache
def _fields(struct: type[Struct]) -> dict[str, inspect.Field]:
    """By the key as written in files."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: field for field in info.fields}


def _related(a: KeyPath, b: KeyPath) -> bool:
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]


def find_line(node: Node, path: KeyPath) -> tuple[int, bool]:
    """Where `path` stands, and True; where it is not given, the nearest above it, and False."""
    line = node.line
    for part in path:
        found = next(_children(node, part), None)
        if found is None:
            return line, False
        line, node = found
    return line, True


def _children(node: Node, part: str | int) -> Iterator[tuple[int, Node]]:
    if isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
        yield node.items[part].line, node.items[part]
    elif isinstance(node, MapNode):
        for key, value in node.entries:
            if isinstance(key, ScalarNode) and key.text == part:
                yield key.line, value
