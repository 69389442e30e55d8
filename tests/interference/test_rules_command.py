"""`kernmesh rules check` and `kernmesh schema rules`, as a user calls them."""

import json
from pathlib import Path

import pytest

from exporter.cli import main

HERE = Path(__file__).parent


def test_a_good_file_is_put_into_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", str(HERE / "valid" / "caelus.json")]) == 0
    told = capsys.readouterr()
    assert "asked of the node every 10s" in told.out
    assert "take away 1 cores of offline work" in told.out
    assert told.out.splitlines()[-1].startswith("ok: 10 rules, 4 warnings")
    assert told.err.count("warning: ") == 4


@pytest.mark.parametrize("name", ["everything-at-once.yaml", "comma.json"])
def test_a_bad_file_gets_every_problem_and_exit_code_1(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = HERE / "invalid" / name
    assert main(["rules", "check", str(path)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert all(line.startswith(f"{path}:") for line in told.err.splitlines())


def test_a_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", "/nowhere/rules.json"]) == 1
    assert capsys.readouterr().err == (
        "/nowhere/rules.json: cannot be read: No such file or directory\n"
    )


def test_there_is_a_schema_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "rules"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert "rule_check" in schema["properties"]
