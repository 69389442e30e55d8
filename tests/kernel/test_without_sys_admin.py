"""The agent as it is deployed: BPF and PERFMON without SYS_ADMIN, and no BTF file named."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.bpf

BOUNDS = "--bounding-set=-all,+bpf,+perfmon,+syslog,+net_raw"


def test_programs_that_relocate_get_their_hooks_without_sys_admin() -> None:
    done = subprocess.run(
        ["setpriv", BOUNDS, "--inh-caps=-all", sys.executable, "-m", "exporter.cli", "programs"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert "block_rq_issue" in rows["biolatency"]
    assert "timer_start" in rows["timers"]
