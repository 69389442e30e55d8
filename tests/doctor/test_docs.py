"""docs/doctor.md has every line."""

from pathlib import Path

import pytest

from exporter.doctor import CHECKS

PAGE = Path(__file__).parents[2] / "docs/doctor.md"


@pytest.mark.parametrize("subject", [check.subject for check in CHECKS])
def test_each_line_has_its_meaning_and_mend_on_the_page(subject: str) -> None:
    assert f"\n| {subject} | " in PAGE.read_text()
