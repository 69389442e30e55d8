"""`kernmesh doctor` on this machine, with what it has and without any privilege."""

import json
import os
import subprocess
import sys
from pathlib import Path

from exporter.doctor import CHECKS

# Without capabilities, as far as whoever runs this may drop them.
DROP = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


def doctor(*words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "exporter.cli", "doctor", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_this_machine_is_told_on_one_screen_and_json_says_the_same(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("ebpf: {programs: []}\nusage: {state_dir: null}\n")
    shown, parsed = doctor("--config", str(config)), doctor("--config", str(config), "--json")
    rows = json.loads(parsed.stdout)["lines"]
    assert [row["subject"] for row in rows] == [
        check.subject for check in CHECKS if check.subject != "Kubernetes API"
    ]
    for row in rows:
        assert f"\n{row['subject']:16}  {row['state']:8}  " in f"\n{shown.stdout}"
    assert len(shown.stdout.splitlines()) <= 45
    assert (shown.stderr, parsed.stderr) == ("", "")
    assert shown.returncode == parsed.returncode == int(not json.loads(parsed.stdout)["ok"])


def test_without_privilege_it_works_and_says_what_is_lacking() -> None:
    told = doctor("--json", before=DROP)
    rows = {row["subject"]: row for row in json.loads(told.stdout)["lines"]}
    assert rows["capabilities"]["state"] == rows["bpf()"]["state"] == "missing"
    assert rows["capabilities"]["wanted_by"] == "ebpf.programs"
    assert told.returncode == 1
    assert told.stderr == ""


def test_a_broken_configuration_is_said_as_everywhere(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("ebpf: {program: []}\n")
    told = doctor("--config", str(config))
    assert told.returncode == 1
    assert told.stderr.startswith(f"{config}:1: ebpf.program: ")
    assert told.stdout == ""
