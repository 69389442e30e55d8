"""docs/architecture.md names a test for each defect that must not be inherited: they exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/architecture.md").read_text()
NAMED = re.findall(r"\| (tests/\S+\.py)::(test_\w+) \|", DOCUMENT)


def test_the_table_is_there() -> None:
    assert len(NAMED) >= 15


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text()
