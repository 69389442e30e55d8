"""From nothing to a counting program by the steps that the command prints."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.agent.running import COMMAND, running

pytestmark = pytest.mark.bpf


def test_a_new_program_compiles_passes_check_and_counts(tmp_path: Path) -> None:
    made = subprocess.run(
        [*COMMAND, "new-program", "process-births", "--dir", tmp_path],
        check=True,
        capture_output=True,
        text=True,
    )
    steps = dict(re.findall(r"^([^:\n]+):  +(.*)$", made.stdout, re.MULTILINE))
    subprocess.run(steps["compile"], shell=True, check=True)
    config = tmp_path / "agent.cfg"
    config.write_text(steps["configure, in agent.yaml"] + "\n")
    subprocess.run([*COMMAND, "check", "--config", config], check=True)
    comm = Path("/proc/self/comm").read_text().strip()
    series = f'ebpf_exporter_process_births_total{{command="{comm}"}}'
    with running("--config", config) as agent:
        before = agent.samples().get(series, 0)
        for _ in range(20):
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
        assert agent.samples()[series] - before >= 20
