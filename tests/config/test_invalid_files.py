"""One invalid file per rule, in agent/ and program/. Each ends with the exact messages it gets:
lines `# expect: file:line: path: problem`, all of them, in order.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.config import load_agent
from exporter.ebpf.spec import read_program
from exporter.errors import ConfigError
from tests.expecting import expected

HERE = Path(__file__).parent
NO_ENVIRONMENT: dict[str, str] = {}


def read_agent(path: Path) -> object:
    return load_agent(path, NO_ENVIRONMENT)


READERS: dict[str, Callable[[Path], object]] = {"agent": read_agent, "program": read_program}
FILES = [path for kind in READERS for path in sorted((HERE / kind).glob("*"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_invalid_file_gets_exactly_the_messages_it_names(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        READERS[path.parent.name](path)
    found = [str(problem._replace(file=path.name)) for problem in caught.value.problems]
    assert found == expected(path)


def test_there_are_invalid_files_of_both_kinds() -> None:
    assert {path.parent.name for path in FILES} == set(READERS)


def test_messages_begin_with_the_path_as_the_user_typed_it() -> None:
    path = HERE / "agent" / "key-nearly.yaml"
    with pytest.raises(ConfigError, match=rf"^{path}:2: ebpf\.max_serie: unknown key"):
        load_agent(path)
