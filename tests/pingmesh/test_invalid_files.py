"""One invalid file per rule, in invalid/. Each ends with the exact messages it gets: lines
`# expect: file:line: path: problem`, all of them, in order."""

from pathlib import Path

import pytest

from exporter.errors import ConfigError
from pingmesh.pinglist import MAX_TARGETS, read_pinglist

FILES = sorted((Path(__file__).parent / "invalid").glob("*.yaml"))


def expected(path: Path) -> list[str]:
    return [
        line.removeprefix("# expect: ")
        for line in path.read_text().splitlines()
        if line.startswith("# expect: ")
    ]


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
