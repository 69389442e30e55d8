"""The units, held to systemd's own checks, and to what the commands in them take."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from exporter.cli import _parse
from exporter.config import load_agent

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
INSTALLED = "/opt/kernmesh/bin/kernmesh"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_systemd_takes_every_unit_without_a_word(tmp_path: Path) -> None:
    for unit in UNITS.glob("kernmesh-*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, "/bin/true"))
        if unit.suffix == ".service":
            text = (tmp_path / unit.name).read_text()  # what the manual is, this machine has not
            (tmp_path / unit.name).write_text(re.sub("Documentation=.*\n", "", text))
    assert run("systemd-analyze", "verify", *tmp_path.iterdir()) == ""


@pytest.mark.parametrize(
    ("unit", "at_most"), [("kernmesh-agent.service", 3.5), ("kernmesh-controller.service", 1.5)]
)
def test_what_systemd_holds_of_the_sandbox_does_not_get_worse(unit: str, at_most: float) -> None:
    said = run("systemd-analyze", "security", "--offline=true", "--no-pager", UNITS / unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= at_most, said


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.stem)
def test_every_command_in_a_unit_is_one_that_kernmesh_takes(service: Path) -> None:
    commands = re.findall(rf"^Exec\w+={INSTALLED} (.*)$", service.read_text(), re.MULTILINE)
    assert commands
    for command in commands:
        _parse(shlex.split(command))


def test_the_configuration_to_begin_with_is_one() -> None:
    assert load_agent(UNITS / "agent.yaml").usage.state_dir == "/var/lib/kernmesh"
