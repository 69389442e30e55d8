"""What is wrong with an object or a machine is one clear line, and reaches no further."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from exporter.ebpf.kernel import load
from exporter.ebpf.spec import Program, ProgramSpec
from exporter.errors import BpfError
from tests.kernel.conftest import ROOT, copy_of

pytestmark = pytest.mark.bpf

# Loads a shipped program in a process whose machine is spoiled, and says what came of it.
TRY = """
import json, sys
from exporter.ebpf.kernel import examine, load
from exporter.errors import BpfError
from pathlib import Path
from tests.kernel.conftest import shipped_program
program = shipped_program(Path(sys.argv[1]), sys.argv[2])
if len(sys.argv) > 3:
    (hook,) = program.spec.hooks
    ways = tuple((name,) for name in sys.argv[3:])
    hook = hook.__class__(hook.name, ways)
    program = program._replace(spec=program.spec.__class__(hooks=(hook,)))
try:
    running = load(program)
    said = [hook.taken for hook in running.hooks]
except BpfError as error:
    said = str(error)
print(json.dumps([said, examine(program)._asdict()]))
"""


def attempt(around: Sequence[str], folder: Path, *program: str) -> tuple[object, dict[str, object]]:
    """What load and examine say in a process started through the command `around`."""
    done = subprocess.run(
        [*around, sys.executable, "-c", TRY, folder, *program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, report = json.loads(done.stdout)
    return said, report


def in_private_mounts(script: str) -> list[str]:
    """Runs a command after `script` has changed the mounts that only it sees."""
    return ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"]


def test_without_capabilities_it_says_what_is_needed(shipped: Path) -> None:
    nobody = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]
    said, report = attempt(nobody, shipped, "timers")
    assert said == (
        "timers: not permitted: BPF needs root, or CAP_BPF and CAP_PERFMON; this process runs as "
        "uid 65534 without them: start it as root"
    )
    assert report["hooks"] == ["tp_btf/timer_start", "tracepoint/timer/timer_start"]
    assert report["hook"] is None
    assert report["reason"] == said.removeprefix("timers: ")


def test_root_without_the_capabilities_is_told_the_same(shipped: Path) -> None:
    said, _ = attempt(["setpriv", "--bounding-set=-all", "--inh-caps=-all"], shipped, "timers")
    assert str(said).startswith("timers: not permitted: BPF needs root, or CAP_BPF")


def test_bpf_and_perfmon_capabilities_are_enough(shipped: Path) -> None:
    keep = "--bounding-set=-all,+bpf,+perfmon"
    said, _ = attempt(["setpriv", keep, "--inh-caps=-all"], shipped, "timers")
    assert said == [["tp_btf/timer_start"]]


UNMOUNT = "; ".join(
    f"while mountpoint -q {place}; do umount {place}; done"
    for place in ("/sys/kernel/debug/tracing", "/sys/kernel/debug", "/sys/kernel/tracing")
)


def test_without_kernel_btf_and_without_tracefs_it_says_both(shipped: Path) -> None:
    hidden = in_private_mounts(f"{UNMOUNT}; mount -t tmpfs none /sys/kernel/btf")
    said, _ = attempt(hidden, shipped, "timers")
    assert said == (
        "timers: hook 'timer starts' has no way into this kernel: tp_btf/timer_start: tp_btf needs "
        "a kernel that carries BTF itself; tracepoint/timer/timer_start: tracefs is not mounted: "
        "mount -t tracefs nodev /sys/kernel/tracing"
    )


def test_a_tracepoint_without_tracefs_says_how_to_mount_it(shipped: Path) -> None:
    said, _ = attempt(in_private_mounts(UNMOUNT), shipped, "timers", "timer_start_tracepoint")
    assert said == (
        "timers: hook 'timer starts' has no way into this kernel: tracepoint/timer/timer_start: "
        "tracefs is not mounted: mount -t tracefs nodev /sys/kernel/tracing"
    )


def test_a_tracepoint_with_tracefs_is_taken(shipped: Path) -> None:
    mounted = in_private_mounts(f"{UNMOUNT}; mount -t tracefs nodev /sys/kernel/tracing")
    said, report = attempt(mounted, shipped, "timers", "timer_start_tracepoint")
    assert said == [["tracepoint/timer/timer_start"], ["tp_btf/timer_start"]]
    assert report["reason"] is None


def test_without_tracefs_the_other_ways_are_still_there(shipped: Path) -> None:
    said, _ = attempt(
        in_private_mounts(UNMOUNT), shipped, "timers", "timer_start_tracepoint", "timer_start_btf"
    )
    assert said == [["tp_btf/timer_start"]]


def only(path: Path) -> Program:
    return Program("x", path.with_suffix(".yaml"), path, ProgramSpec())


def fails(path: Path) -> str:
    with pytest.raises(BpfError) as caught:
        load(only(path))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_an_object_that_is_not_there_says_what_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "gone.bpf.o"
    assert fails(path) == f"{path}: is missing: not compiled yet? run make setup"


def test_an_object_compiled_for_something_else_says_for_what(tmp_path: Path) -> None:
    path = tmp_path / "x.bpf.o"
    subprocess.run(
        ["clang", "-c", "-x", "c", "-", "-o", path], input=b"int f(void) { return 1; }", check=True
    )
    assert fails(path).startswith(f"{path}: ")
    assert "BPF" in fails(path)


@pytest.mark.parametrize("kept", [0, 3, 16, 63, 64, 200, 1000, -4000, -64, -1])
def test_a_truncated_object_is_refused_before_libbpf_sees_it(
    shipped: Path, tmp_path: Path, kept: int
) -> None:
    path = tmp_path / "x.bpf.o"
    path.write_bytes((shipped / "timers.bpf.o").read_bytes()[:kept])
    assert fails(path).startswith(f"{path}: ")


def other_owner(path: Path) -> None:
    os.chown(path, 65534, 65534)


def writable(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


def group_writable(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


SPOILS = [
    (other_owner, "is owned by uid 65534, want 0: chown it"),
    (writable, "others can write it (mode "),
    (group_writable, "others can write it (mode "),
]


@pytest.mark.parametrize(("spoil", "problem"), SPOILS)
@pytest.mark.parametrize("what", ["object", "folder", "folder above"])
def test_an_object_that_others_could_have_written_is_not_loaded(
    shipped: Path, tmp_path: Path, what: str, spoil: Callable[[Path], None], problem: str
) -> None:
    above = tmp_path / "above"
    above.mkdir()
    path = copy_of(shipped, "timers", above / "folder")
    load(only(path)).close()
    spoiled = {"object": path, "folder": path.parent, "folder above": above}[what]
    spoil(spoiled)
    assert fails(path).startswith(f"{spoiled}: {problem}")


def test_a_link_is_judged_by_where_it_leads(shipped: Path, tmp_path: Path) -> None:
    target = copy_of(shipped, "timers", tmp_path / "open")
    link = tmp_path / "timers.bpf.o"
    link.symlink_to(target)
    load(only(link)).close()
    writable(target.parent)
    assert fails(link).startswith(f"{target.parent}: others can write it")


def test_a_sticky_folder_of_all_is_no_danger_to_what_is_below(
    shipped: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "like-tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    path = Path(shutil.copy(shipped / "timers.bpf.o", copy_of(shipped, "timers", folder / "mine")))
    load(only(path)).close()
