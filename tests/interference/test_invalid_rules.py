"""One invalid file per rule of the format. YAML ends with the exact messages that it gets (lines
`# expect: file:line: path: problem`); JSON has no comments: they stand in the .expect beside it.
"""

from pathlib import Path

import pytest

from exporter.errors import ConfigError
from exporter.interference.rules import read_rules
from tests.expecting import expected
from tests.interference.facts import FACTS

FOLDER = Path(__file__).parent / "invalid"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".yaml", ".json"))


def wanted(path: Path) -> list[str]:
    if path.suffix == ".json":
        return path.with_suffix(".expect").read_text().splitlines()
    return expected(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_invalid_rules_file_gets_exactly_the_messages_it_names(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_rules(path, FACTS)
    found = [str(problem._replace(file=path.name)) for problem in caught.value.problems]
    assert found == wanted(path)


def test_there_are_invalid_files_of_both_formats() -> None:
    assert {path.suffix for path in FILES} == {".yaml", ".json"}
