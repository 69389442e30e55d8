"""How messages name things: what was found, what is wanted, where, and what may have been meant.

Text from files is quoted, cut and free of control characters: it goes to terminals and logs.
"""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from msgspec import inspect

from exporter.config.scalars import is_text_type
from exporter.config.tree import ListNode, MapNode, Node, ScalarNode

KeyPath: TypeAlias = tuple[str | int, ...]

NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_SHOWN = 60
_PASSWORD = re.compile(r"//[^/@\s]*@")
_NUMBER = re.compile(r"[-+]?[0-9][0-9a-zA-Z_.+-]{0,30}")
_PATH_PART = re.compile(r'\[([0-9]+)\]|\[("(?:[^"\\]|\\.)*")\]|\.?([^.\[\]]+)')


def is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.plain and node.text in NULLS


def quote(text: str) -> str:
    text = _PASSWORD.sub("//…@", text)
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "…"
    return json.dumps(text, ensure_ascii=not text.isprintable())


def show_path(path: KeyPath) -> str:
    """ebpf.dirs[1]; a key that is no plain word stands in brackets and quotes."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        elif len(part) <= _SHOWN and part.replace("-", "_").isidentifier():
            shown += f".{part}" if shown else part
        else:
            shown += f"[{quote(part)}]"
    return shown


def read_path(text: str) -> KeyPath:
    """What show_path made, as far as it was not cut."""
    path: list[str | int] = []
    for number, quoted, word in _PATH_PART.findall(text):
        path.append(int(number) if number else str(json.loads(quoted)) if quoted else word)
    return tuple(path)


def got(node: Node) -> str:
    match node:
        case ListNode():
            return "a list"
        case MapNode():
            return "a map"
        case ScalarNode(text="", plain=True):
            return "nothing"
    if is_null(node):
        return "null"
    return node.text if node.plain and _NUMBER.fullmatch(node.text) else quote(node.text)


def nothing(node: Node, info: inspect.Type) -> str:
    """The problem of a null where none may be."""
    if isinstance(node, ScalarNode) and node.text:
        hint = " (in quotes if that is the text)" if isinstance(info, inspect.StrType) else ""
        return f"is null, want {want(info)}{hint}"
    hint = " (or leave the key out)" if isinstance(info, inspect.StructType) else ""
    return f"is empty, want {want(info)}{hint}"


def guess(word: str, known: Iterable[str]) -> str:
    """' (did you mean x?)', or '' if nothing is near."""
    names = {_fold(name): name for name in known}
    near = difflib.get_close_matches(_fold(word[:_SHOWN]), names, n=1, cutoff=0.6)
    return f" (did you mean {names[near[0]]}?)" if near else ""


def _fold(word: str) -> str:
    return word.lower().replace("-", "_")


def one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def want(info: inspect.Type) -> str:
    """What a field of this type takes, as the end of 'want …'."""
    match info:
        case inspect.Metadata(extra=extra):
            return str(extra["want"]) if extra and "want" in extra else want(info.type)
        case inspect.CustomType(cls=cls) if is_text_type(cls):
            return cls.want
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return _number("a whole number", info)
        case inspect.FloatType():
            return _number("a number", info)
        case inspect.StrType():
            return "text"
        case inspect.LiteralType(values=values):
            return one_of([str(value) for value in values])
        case inspect.NoneType():
            return "null"
        case inspect.UnionType(types=types):
            return one_of([want(t) for t in types])
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return f"a list ({want(item)}, …)"
        case inspect.DictType(value_type=value):
            return f"a map (key: {want(value)})"
        case inspect.StructType(fields=fields):
            return f"a map with keys {_some([field.encode_name for field in fields])}"
    raise TypeError(f"no such type in configuration: {info}")


def _some(words: Sequence[str]) -> str:
    return ", ".join(words) if len(words) <= 12 else ", ".join([*words[:12], "…"])


def _number(kind: str, info: inspect.IntType | inspect.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f"{kind} from {info.ge} to {info.le}"
    if info.ge is not None:
        return f"{kind}, at least {info.ge}"
    if info.gt is not None:
        return f"{kind} over {info.gt}"
    if info.le is not None:
        return f"{kind}, at most {info.le}"
    return kind
