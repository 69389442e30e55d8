"""Bytes to nodes: bounded, positioned, and nothing but ConfigError, with libyaml and without."""

import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.tree import Limits, ListNode, MapNode, Node, ScalarNode, parse_yaml
from exporter.errors import ConfigError

LOADERS = {"libyaml": yaml.CSafeLoader, "python": yaml.SafeLoader}
SMALL = Limits(bytes=1 << 16, depth=8, nodes=200)
YAML_TEXT = st.text("[]{}:-*&#|>!%@`'\"\n\t ,?~abc<=.01\\\u00e9\ufeff\x85", max_size=60)


@pytest.fixture(params=LOADERS, ids=list(LOADERS))
def loader(request: pytest.FixtureRequest) -> Any:
    return LOADERS[request.param]


def problem(data: bytes, loader: Any = yaml.CSafeLoader, limits: Limits = SMALL) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(data, "f", limits, loader)
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_libyaml_is_what_reads_here() -> None:
    assert yaml.__with_libyaml__


def test_every_node_knows_its_line_and_scalars_keep_their_text(loader: Any) -> None:
    data = b"a: on\nb:\n  - 0x10\n  - '~'\n  - ~\n  - !!str 1\nc: {1: 1:30}\nd: |\n  x\n"
    assert parse_yaml(data, "f", loader=loader) == MapNode(
        1,
        [
            (ScalarNode(1, "a", True), ScalarNode(1, "on", True)),
            (
                ScalarNode(2, "b", True),
                ListNode(
                    3,
                    [
                        ScalarNode(3, "0x10", True),
                        ScalarNode(4, "~", False),
                        ScalarNode(5, "~", True),
                        ScalarNode(6, "1", False),
                    ],
                ),
            ),
            (
                ScalarNode(7, "c", True),
                MapNode(7, [(ScalarNode(7, "1", True), ScalarNode(7, "1:30", True))]),
            ),
            (ScalarNode(8, "d", True), ScalarNode(8, "x\n", False)),
        ],
    )


@pytest.mark.parametrize("data", [b"", b"\n", b"# nothing\n", b"\xef\xbb\xbf"])
def test_no_document_is_no_node(data: bytes, loader: Any) -> None:
    assert parse_yaml(data, "f", loader=loader) is None


def test_an_alias_is_the_node_that_it_names(loader: Any) -> None:
    tree = parse_yaml(b"- &a [x]\n- *a\n- &a y\n- *a\n", "f", loader=loader)
    assert isinstance(tree, ListNode)
    assert tree.items[1] is tree.items[0]
    assert tree.items[3] == ScalarNode(3, "y", True)


@pytest.mark.parametrize(
    "opening", [b"[", b"{", b"- ", b"? ", b"&a [", b"!!seq [", b"[{a: "], ids=lambda o: o.decode()
)
def test_a_hundred_kilobytes_of_opening_are_refused_without_a_crash(opening: bytes) -> None:
    code = (
        "import sys; from exporter.config.tree import parse_yaml, Limits\n"
        "from exporter.errors import ConfigError\n"
        "try: parse_yaml(sys.stdin.buffer.read(), 'bomb')\n"
        "except ConfigError as error: print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input=opening * 100_000, capture_output=True, timeout=60
    )
    assert (run.returncode, run.stdout.decode(), run.stderr.decode()) == (
        0,
        "bomb:1: nested too deep, want at most 64 levels\n",
        "",
    )


def test_depth_is_counted_through_aliases(loader: Any) -> None:
    chain = "- &a0 [x]\n" + "".join(f"- &a{n} [*a{n - 1}]\n" for n in range(1, 20))
    assert problem(chain.encode(), loader) == "f:8: nested too deep, want at most 8 levels"


def test_nodes_are_counted_with_aliases_expanded(loader: Any) -> None:
    laughs = "- &a [x,x,x,x,x,x,x,x,x]\n- &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n- [*b,*b]\n"
    assert problem(laughs.encode(), loader) == (
        "f:3: too much, want at most 200 nodes with aliases expanded"
    )


def test_aliases_in_bounds_are_fine(loader: Any) -> None:
    tree = parse_yaml(b"- &a [x, x]\n" + b"- *a\n" * 50, "f", SMALL, loader)
    assert isinstance(tree, ListNode) and len(tree.items) == 51


def test_many_nodes_are_refused(loader: Any) -> None:
    assert problem(b"- x\n" * 300, loader) == (
        "f:200: too much, want at most 200 nodes with aliases expanded"
    )


def test_many_bytes_are_refused() -> None:
    assert problem(b" " * 70_000) == "f: too big, got 70000 bytes, want at most 65536 bytes"
    limits = Limits(bytes=2 << 20)
    text = problem(b" " * (3 << 20), limits=limits)
    assert text == "f: too big, got 3 MiB, want at most 2 MiB"


def test_a_flood_of_directives_is_refused(loader: Any) -> None:
    flood = "".join(f"%TAG !{n}! tag:x,2000:\n" for n in range(100))
    assert problem(flood.encode(), loader) == ("f: more than 64 lines that begin with %, want none")


@pytest.mark.parametrize(
    "data",
    [rb'"\ud800"', rb'"\U00110000"', rb'"\UFFFFFFFF"', b"%YAML 99999999999999999999.1\n---\na"],
)
def test_impossible_characters_and_versions_are_one_problem(data: bytes, loader: Any) -> None:
    assert problem(data, loader).startswith("f:1: not YAML: ") or problem(data, loader).startswith(
        "f: not YAML: "
    )


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [(b"\xff", 1, 1), (b"a\nb\n\xc3(", 3, 1), (b"a\nbc\xed\xa0\x80", 2, 3)],
)
def test_what_is_not_utf_8_is_placed(data: bytes, line: int, column: int) -> None:
    text = problem(data)
    assert text.startswith(f"f:{line}: not UTF-8, got byte 0x")
    assert text.endswith(f"in column {column}")


def test_utf_16_is_refused() -> None:
    assert problem("a: b".encode("utf-16")) == "f:1: not UTF-8, got byte 0xff in column 1"


@pytest.mark.parametrize("tag", [b"!!python/name:os.system", b"!!binary", b"!mine", b"!<x>"])
def test_tags_that_mean_something_are_refused(tag: bytes, loader: Any) -> None:
    assert problem(tag + b" x", loader).endswith("is not known here, want plain values")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=80) | YAML_TEXT.map(str.encode))
def test_any_bytes_give_a_tree_or_one_problem(data: bytes) -> None:
    for each in LOADERS.values():
        try:
            parse_yaml(data, "f", SMALL, each)
        except ConfigError as error:
            assert len(error.problems) == 1
            assert "\n" not in str(error)


@settings(deadline=None)
@given(
    st.recursive(
        st.text("abc 0~:-é", max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner)
        ),
        max_leaves=10,
    )
)
def test_what_yaml_writes_is_read_back_alike_with_libyaml_and_without(value: object) -> None:
    data = yaml.safe_dump(value, allow_unicode=True).encode()
    trees = [parse_yaml(data, "f", loader=each) for each in LOADERS.values()]
    assert trees[0] == trees[1]
    assert trees[0] is not None
    assert plain(trees[0]) == value


def plain(node: Node) -> object:
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    if isinstance(node, MapNode):
        return {plain(key): plain(value) for key, value in node.entries}
    return node.text
