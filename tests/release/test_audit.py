"""What counts as known to be vulnerable, and as excused. Whether anything is: make audit."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.release.advisories import Known, affects, known
from tests.release.audit import LOCKS, excused, pins
from tests.release.wheel import ROOT


def ranged(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"ranges": [{"type": kind, "events": list(events)}]}


FIXED = ranged({"introduced": "0"}, {"fixed": "1.10"})
AGAIN = ranged({"introduced": "2.0"}, {"introduced": "0"}, {"fixed": "1.2"}, {"fixed": "2.5"})


@pytest.mark.parametrize(
    ("affected", "version", "expected"),
    [
        (FIXED, "1.9", True),
        (FIXED, "1.10rc1", True),
        (FIXED, "1.10", False),
        (AGAIN, "1.1", True),
        (AGAIN, "1.2", False),
        (AGAIN, "2.4.9", True),
        (AGAIN, "2.5", False),
        (ranged({"introduced": "0"}, {"last_affected": "3.0"}), "3.0", True),
        (ranged({"introduced": "0"}, {"last_affected": "3.0"}), "3.0.1", False),
        (ranged({"introduced": "1.0"}), "9", True),
        (ranged({"introduced": "1.0"}), "0.9", False),
        (ranged({"introduced": "0"}, kind="GIT"), "1.0", False),
        ({"versions": ["1.0", "1.1"]}, "1.1", True),
        ({"versions": ["1.0", "1.1"]}, "1.2", False),
        ({}, "1.0", False),
    ],
)
def test_a_version_is_affected_by_the_rule_of_osv(
    affected: dict[str, Any], version: str, expected: bool
) -> None:
    assert affects(affected, version) == expected


RECORD = {
    "id": "PYSEC-1",
    "aliases": ["CVE-1"],
    "affected": [{"package": {"name": "Some.Package", "ecosystem": "PyPI"}, **FIXED}],
}
FOUND = Known("some-package", "1.9", "PYSEC-1", ("CVE-1",), ("1.10",))


def test_a_clone_of_the_advisory_database_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "vulns" / "some-package"
    folder.mkdir(parents=True)
    (folder / "PYSEC-1.yaml").write_text(yaml.safe_dump(RECORD))
    (folder / "PYSEC-2.yaml").write_text(yaml.safe_dump({**RECORD, "withdrawn": "2026-01-01"}))
    assert known(tmp_path, [("some_package", "1.9"), ("other", "1")]) == [FOUND]
    assert known(tmp_path, [("some_package", "1.10")]) == []
    assert str(FOUND) == "some-package 1.9: PYSEC-1 (CVE-1): fixed in 1.10"


def test_what_osv_exports_is_read(tmp_path: Path) -> None:
    (tmp_path / "PYSEC-1.json").write_text(json.dumps(RECORD))
    npm = [{"package": {"name": "some-package", "ecosystem": "npm"}, **FIXED}]
    (tmp_path / "GHSA-1.json").write_text(json.dumps({"id": "GHSA-1", "affected": npm}))
    assert known(tmp_path, [("some-package", "1.9")]) == [FOUND]


def test_an_empty_folder_is_not_a_database_in_which_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no advisories, want vulns/"):
        known(tmp_path, [("some-package", "1.9")])


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_of_a_lock_is_asked_about(name: str) -> None:
    lock = ROOT / "requirements" / f"{name}.lock"
    lines = [line for line in lock.read_text().splitlines() if "==" in line and line[0] not in " #"]
    assert len(pins(lock)) == len(lines) > 10


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run()  # noqa: S603 # ourselves", True),
        ("run()  # noqa: S603, S607 # ourselves", True),
        ("run()  # noqa: S603", False),
        ("run()  # noqa: S607 # ourselves", False),
        ("run()", False),
    ],
)
def test_a_finding_is_excused_by_a_reason_on_its_line_and_by_nothing_else(
    line: str, expected: bool
) -> None:
    finding = {"test_id": "B603", "line_range": [2]}
    assert excused(finding, ["# noqa: S603 # of another line", line]) == expected
