"""YAML bytes to a tree of nodes that know their line. Nothing is interpreted: scalars are text.

libyaml's composer is never used: it recurses, and 100 KB of `[` crash it. Its event stream does
not recurse, and is left as soon as depth, node count or the expansion of aliases is out of bounds.
"""

from typing import Any, NamedTuple, NoReturn, TypeAlias

import yaml

from exporter.config.source import check_text
from exporter.errors import ConfigError, Problem


class Limits(NamedTuple):
    """What one file may cost. `nodes` counts an alias as all that it stands for."""

    bytes: int = 16 << 20
    depth: int = 64
    nodes: int = 250_000


DEFAULT_LIMITS = Limits()


class ScalarNode(NamedTuple):
    """`plain` is False for quoted and block text, which is never null."""

    line: int
    text: str
    plain: bool


class ListNode(NamedTuple):
    line: int
    items: "list[Node]"


class MapNode(NamedTuple):
    """Entries as written: doubles are still there, `<<` is still a key."""

    line: int
    entries: "list[tuple[Node, Node]]"


Node: TypeAlias = ScalarNode | ListNode | MapNode

# libyaml compares each %TAG line with all before it: a megabyte of them would take hours.
_MAX_DIRECTIVES = 64
_YAML_ORG = "tag:yaml.org,2002:"
_PLAIN_TAGS = ("str", "int", "float", "bool", "null", "seq", "map")
_TAGS = {"!", *(_YAML_ORG + name for name in _PLAIN_TAGS)}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(
    data: bytes, file: str, limits: Limits = DEFAULT_LIMITS, loader: Any = _LOADER
) -> Node | None:
    """The one document in `data`, None if there is none. Raises ConfigError with one Problem.

    `loader` is PyYAML's C loader, or its Python one where PyYAML was built without libyaml."""
    check_text(data, file, limits.bytes)
    composer = _Composer(file, limits)
    if data.count(b"\n%") > _MAX_DIRECTIVES:
        composer.fail(0, f"more than {_MAX_DIRECTIVES} lines that begin with %, want none")
    try:
        for event in yaml.parse(data, Loader=loader):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (-1, 0)
        composer.fail(line + 1, _syntax(error, data, line, column) + composer.inside(line + 1))
    except yaml.reader.ReaderError as error:
        line = data.count(b"\n", 0, error.position) + 1
        composer.fail(line, f"not YAML: {_reader_reason(error)}")
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The pure Python scanner lets chr() and int() complain of hostile escapes.
        composer.fail(0, f"not YAML: {error}")
    return composer.root


class _Open:
    """A list or map whose end has not come yet."""

    __slots__ = ("anchor", "before", "height", "key", "node")

    def __init__(self, node: ListNode | MapNode, anchor: str | None, before: int) -> None:
        self.node = node
        self.anchor = anchor
        self.before = before
        self.height = 1
        self.key: Node | None = None


class _Anchor(NamedTuple):
    """`weight` in nodes and `height` in levels, as an alias to it adds them; None while open."""

    node: Node | None
    weight: int
    height: int


class _Composer:
    """Takes events one by one; `root` is the document."""

    def __init__(self, file: str, limits: Limits) -> None:
        self.root: Node | None = None
        self._file = file
        self._limits = limits
        self._count = 0
        self._documents = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, _Anchor] = {}

    def fail(self, line: int, text: str) -> NoReturn:
        raise ConfigError([Problem(self._file, max(line, 0), "", text)])

    def inside(self, line: int) -> str:
        """' (inside …)' if what is open began in another line: its end may be what is missing."""
        node = self._open[-1].node if self._open else None
        if node is None or node.line == line:
            return ""
        kind = "list" if isinstance(node, ListNode) else "map"
        return f" (inside the {kind} that begins in line {node.line})"

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self.fail(_line(event), "a second document begins, want only one")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        line = _line(event)
        self._check_tag(event.tag, line)
        self._weigh(1, line)
        if not event.value.isascii():
            try:
                event.value.encode()
            except UnicodeEncodeError:  # only the Python scanner takes "\ud800"
                self.fail(line, "not YAML: half a surrogate pair is no character")
        plain = not event.style and event.tag in (None, _YAML_ORG + "null")
        node = ScalarNode(line, event.value, plain)
        if event.anchor:
            self._anchors[event.anchor] = _Anchor(node, 1, 0)
        self._add(node, 0)

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        line = _line(event)
        self._check_tag(event.tag, line)
        self._weigh(1, line)
        self._check_depth(len(self._open) + 1, line)
        is_map = isinstance(event, yaml.MappingStartEvent)
        node = MapNode(line, []) if is_map else ListNode(line, [])
        if event.anchor:
            self._anchors[event.anchor] = _Anchor(None, 0, 0)
        self._open.append(_Open(node, event.anchor, self._count - 1))

    def _close(self) -> None:
        done = self._open.pop()
        if done.anchor:
            weight = self._count - done.before
            self._anchors[done.anchor] = _Anchor(done.node, weight, done.height)
        self._add(done.node, done.height)

    def _alias(self, event: yaml.AliasEvent) -> None:
        line = _line(event)
        anchor = self._anchors.get(event.anchor or "")
        name = (event.anchor or "")[:60]
        if anchor is None:
            self.fail(line, f"alias *{name} has no anchor &{name} before it")
        if anchor.node is None:
            self.fail(line, f"alias *{name} stands inside what it names")
        self._weigh(anchor.weight, line)
        self._check_depth(len(self._open) + anchor.height, line)
        self._add(anchor.node, anchor.height)

    def _add(self, node: Node, height: int) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.height = max(parent.height, height + 1)
        if isinstance(parent.node, ListNode):
            parent.node.items.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            parent.node.entries.append((parent.key, node))
            parent.key = None

    def _weigh(self, nodes: int, line: int) -> None:
        self._count += nodes
        if self._count > self._limits.nodes:
            self.fail(
                line, f"too much, want at most {self._limits.nodes} nodes with aliases expanded"
            )

    def _check_depth(self, depth: int, line: int) -> None:
        if depth > self._limits.depth:
            self.fail(line, f"nested too deep, want at most {self._limits.depth} levels")

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag is not None and tag not in _TAGS:
            shown = tag.replace(_YAML_ORG, "!!")[:60]
            self.fail(line, f"tag {shown} is not known here, want plain values")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _syntax(error: yaml.MarkedYAMLError, data: bytes, line: int, column: int) -> str:
    reason = error.problem or error.context or "syntax error"
    lines = data.split(b"\n", line + 1) if 0 <= line < 100_000 else []
    indent = lines[line][: column + 1] if line < len(lines) else b""
    if b"\t" in indent and not indent.strip():
        return f"not YAML: a tab indents column {column + 1}, want spaces"
    return f"not YAML: {reason} in column {column + 1}"


def _reader_reason(error: yaml.reader.ReaderError) -> str:
    character = error.character
    code = ord(character) if isinstance(character, str) else character
    shown = f" (U+{code:04X})" if isinstance(code, int) and code >= 0 else ""
    return f"{error.reason}{shown}"
