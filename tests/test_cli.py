"""The table of commands: each is there, and is imported only when it is called."""

import argparse
import importlib
import subprocess
import sys

import pytest

from exporter.cli import COMMANDS, Command, main

IMPORTED = """
import sys
from exporter.cli import main
try:
    main({words!r})
except SystemExit:
    pass
print(sorted(name for name in sys.modules if name.split(".")[0] in {packages!r}), file=sys.stderr)
"""


def imported(*words: str) -> set[str]:
    """Modules that the command line needed, ours and the heavy ones of others."""
    packages = ["exporter", "pingmesh", "msgspec", "yaml", "starlette", "asyncio", "jinja2"]
    code = IMPORTED.format(words=list(words), packages=packages)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stderr.strip().strip("[]").replace("'", "").split(", "))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_of_the_table_has_its_flags_and_runs(command: Command) -> None:
    module = importlib.import_module(command.module)
    module.add_arguments(argparse.ArgumentParser())
    assert callable(module.run)
    assert command.help


def test_help_names_all_commands_and_imports_none() -> None:
    needed = imported("--help")
    assert not {command.module for command in COMMANDS} & needed
    assert {name for name in needed if not name.startswith("exporter")} == set()


def test_a_command_s_help_imports_its_flags_and_not_its_work() -> None:
    needed = imported("agent", "--help")
    assert "exporter.commands.agent" in needed
    assert not {"exporter.app", "exporter.role", "starlette", "asyncio"} & needed


@pytest.mark.parametrize("words", [[], ["agentt"], ["check", "--confi", "x"]])
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: kernmesh" in capsys.readouterr().err
