"""What is installed, on a machine that lacks something: the wheel's files, with the checkout and
what the machine is to lack hidden from the process (a mount namespace; root).
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.running import running
from tests.release.wheel import ROOT

pytestmark = pytest.mark.bpf

_HIDE = """
mount -t tmpfs none /mnt && mkdir /mnt/up /mnt/work
mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/up,workdir=/mnt/work" "$1"
cd "$1" && rm -f $2 && cd /
mount -t tmpfs none "$3/exporter" && mount -t tmpfs none "$3/bpf"
shift 3; exec "$@"
"""
REASON = (
    "libbpf.so.1: cannot be loaded (libbpf.so.1: cannot open shared object file: No such file or "
    "directory), so no BPF program can run: install libbpf 1.0 or newer "
    "(Debian: apt-get install libbpf1)"
)


def without(folder: Path, patterns: str) -> tuple[str, ...]:
    """What a command begins with, so as not to see these files."""
    return ("sh", "-ec", _HIDE, "sh", str(folder), patterns, str(ROOT))


def without_libbpf() -> tuple[str, ...]:
    [library] = Path("/usr/lib").glob("*/libbpf.so.1")
    return without(library.parent, "libbpf.so*")


def installed(unpacked: Path) -> tuple[str, ...]:
    """kernmesh of the wheel: -P keeps the current folder out, and nothing else has exporter."""
    return ("env", f"PYTHONPATH={unpacked}", sys.executable, "-P", "-m", "exporter.cli")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "agent.yaml"
    file.write_text("usage: {state_dir: null, interval: 1s}\npingmesh: {allow: [loopback]}\n")
    return file


def test_without_libbpf_programs_say_what_to_install_and_all_else_works(
    unpacked: Path, config: Path
) -> None:
    command = (*installed(unpacked), "agent")
    with running("--config", config, prefix=without_libbpf(), command=command) as agent:
        agent.wait_for(lambda it: "programs: 0 of 3 on" in it.screen)
        samples = agent.samples()
        for program in ("timers", "biolatency", "oomkill"):
            assert samples[f'kernmesh_ebpf_program_up{{program="{program}"}}'] == 0
            off = f'kernmesh_ebpf_program_off_info{{program="{program}",reason="{REASON}"}}'
            assert samples[off] == 1
        assert samples["node_mem_usage_active"] > 0
        answer = agent.get("/probe?target=127.0.0.1&module=ping")
        assert "\nprobe_success 1" in answer
        assert "Traceback" not in agent.screen + agent.log
        assert agent.stop() == 0


@pytest.mark.parametrize(("word", "code"), [("check", 0), ("programs", 0), ("doctor", 1)])
def test_without_libbpf_no_command_ends_in_a_traceback(
    unpacked: Path, word: str, code: int
) -> None:
    done = subprocess.run(
        ["unshare", "--mount", *without_libbpf(), *installed(unpacked), word],
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_without_a_compiler_and_a_checkout_programs_run_from_the_wheel(
    unpacked: Path, config: Path
) -> None:
    prefix = without(Path("/usr/bin"), "*clang* *gcc* cc make bpftool")
    command = (*installed(unpacked), "agent")
    with running("--config", config, prefix=prefix, command=command) as agent:
        agent.wait_for(lambda it: "programs: 3 of 3 on" in it.screen)
        name = 'kernmesh_ebpf_program_up{program="biolatency"}'
        assert agent.samples([name.partition("{")[0]])[name] == 1
