"""One invalid file per rule, in invalid/. Each ends with the exact messages it gets: lines
`# expect: file:line: path: problem`, all of them, in order."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import fields

from exporter.errors import ConfigError
from pingmesh.pinglist import MAX_TARGETS, Expect, Group, Pinglist, Query, Setting, read_pinglist
from tests.expecting import expected

FILES = sorted((Path(__file__).parent / "invalid").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_invalid_file_gets_exactly_the_messages_it_names(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_pinglist(path)
    found = [str(problem._replace(file=path.name)) for problem in caught.value.problems]
    assert found == expected(path) != []


def test_a_million_targets_are_refused_by_one_line() -> None:
    text = "mesh:\n  a:\n    ips:\n" + "    - a\n" * 1_000_000
    with pytest.raises(ConfigError) as caught:
        read_pinglist(text.encode(), "pulled")
    [problem] = caught.value.problems
    assert problem.text.startswith(f"too many targets, want at most {MAX_TARGETS}")


def test_more_targets_than_allowed_are_counted() -> None:
    text = "mesh:\n  a:\n    ips:\n" + "    - a\n" * (MAX_TARGETS + 1)
    with pytest.raises(ConfigError) as caught:
        read_pinglist(text.encode(), "pulled")
    assert str(caught.value) == (
        f"pulled:1: mesh: too many targets, got {MAX_TARGETS + 1}, want at most {MAX_TARGETS}"
    )


def fields_of(type_: type, prefix: str) -> Iterator[str]:
    for each in fields(type_):
        path = f"{prefix}{each.encode_name}"
        yield path
        for inner in (Setting, Group, Expect, Query):
            if inner in (each.type, *get_args(each.type)):
                yield from fields_of(inner, f"{path}.*." if inner is Group else f"{path}.")


@pytest.mark.parametrize("path", list(fields_of(Pinglist, "")))
def test_of_each_field_there_is_a_file_that_has_it_wrong(path: str) -> None:
    pattern = re.escape(path).replace(r"\*", r"\w+")
    said = [line for file in FILES for line in expected(file)]
    assert any(re.search(rf"^\S+:\d+: {pattern}(\[\d+\])?: ", line) for line in said)
