"""bcc as the second backend: the same sources count the same, and what it cannot know it refuses.

Debian's headers are those of another kernel, as on many a machine. So what reads the kernel's
structs runs here only because this kernel's own types are known, and is refused without.
"""

import json
import os
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from exporter.ebpf import backends, bcc_process, kernel_headers
from exporter.ebpf.btf_build import Field, build
from exporter.ebpf.elf import verify_object
from exporter.ebpf.header_types import header_types
from exporter.ebpf.kernel import Options
from exporter.ebpf.relocations import relocations
from exporter.errors import BpfError
from exporter.hostfs import HostFs
from exporter.testing import fake_host
from tests.kernel.beside import IN_PRIVATE, beside
from tests.kernel.conftest import ROOT, counts, shipped_program
from tests.kernel.test_shipped import kernel_function
from tests.kernel.workloads import start_keepalive_timers

pytestmark = [pytest.mark.bpf, pytest.mark.usefixtures("shipped")]

# a program, its hooks by bcc, and least counts of maps under its load
COUNTING = [
    ("timers", ["tracepoint/timer/timer_start"], {"timer_starts_total": 20_000}),
    ("raw-tracepoints", ["raw_tp/timer_start"], {"raw_timer_starts_total": 20_000}),
    (
        "syscalls",
        ["raw_tp/sys_enter", "raw_tp/sys_exit"],
        {"syscalls_total": 25_000, "syscall_errors_total": 5_000},
    ),
    ("uprobe", ["uprobe/libc.so.6:malloc"], {"libc_malloc_calls_total": 20_000}),
    (
        "oomkill",
        [
            "raw_tp/signal_generate",
            "raw_tp/mark_victim",
            "raw_tp/mm_vmscan_memcg_reclaim_begin",
            "raw_tp/mm_vmscan_direct_reclaim_begin",
        ],
        {"oom_kills_total": 3, "oom_kills_by_scope_total": 3},
    ),
]


@pytest.mark.parametrize(("program", "hooks", "least"), COUNTING, ids=[c[0] for c in COUNTING])
def test_both_backends_count_the_same_events(
    program: str, hooks: list[str], least: dict[str, int]
) -> None:
    outcome = beside(program, backend="bcc")
    assert outcome.error is None
    assert outcome.taken == hooks
    for name, count in least.items():
        first, second = outcome.totals(name)
        assert first >= count
        assert second == pytest.approx(first, rel=0.02)


def test_tracepoints_need_neither_btf_nor_headers_of_the_running_kernel() -> None:
    outcome = beside("timers", hide_btf=True, backend="bcc")
    first, second = outcome.totals("timer_starts_total")
    assert second == pytest.approx(first, rel=0.02)


def no_types() -> str:
    running = os.uname().release
    headers = kernel_headers.find(HostFs(), running)
    assert headers is not None
    return (
        f"this kernel has no BTF, and the headers are those of {headers.release}, not of "
        f"{running}: apt-get install linux-headers-{running}, or name a BTF file as ebpf.btf"
    )


def test_what_reads_structs_is_refused_with_headers_of_another_kernel() -> None:
    assert beside("oomkill", hide_btf=True, backend="bcc").error == (
        "oomkill: hook 'victims' has no way into this kernel by bcc: tp_btf/mark_victim: bcc has "
        f"no tp_btf; raw_tp/signal_generate: reads struct task_struct, and {no_types()}"
    )


def test_auto_tries_bcc_where_the_kernel_carries_no_btf_and_says_both() -> None:
    assert beside("raw-tracepoints", hide_btf=True, backend="auto").error == (
        "raw-tracepoints: hook 'timer starts' has no way into this kernel: raw_tp/timer_start: "
        "reads struct timer_list, and this kernel carries no BTF; and by bcc: hook 'timer starts' "
        "has no way into this kernel by bcc: raw_tp/timer_start: reads struct timer_list, and "
        f"{no_types()}"
    )


@pytest.fixture
def as_if_for_these_headers(tmp_path: Path) -> HostFs:
    """This machine without any BTF, and with the name of the kernel that the headers are for."""
    headers = kernel_headers.find(HostFs(), os.uname().release)
    assert headers is not None
    release = f"{headers.release}\n"
    host = fake_host(tmp_path, {"proc/sys/kernel/osrelease": release})
    return host._replace(root=Path("/"), own=Path("/"))


def test_without_btf_headers_of_the_running_kernel_tell_its_types(
    as_if_for_these_headers: HostFs, shipped: Path
) -> None:
    # struct timer_list is one of the few that are the same in all kernels from 4.15 on
    program = shipped_program(shipped, "raw-tracepoints")
    first = backends.load(program)
    second = backends.load(program, Options(host=as_if_for_these_headers, backend="bcc"))
    with closing(first), closing(second):
        name = "raw_timer_starts_total"
        # the callback's address, so a field at the wrong place would give other keys
        key = kernel_function("tcp_keepalive_timer")

        def found() -> list[int]:
            start_keepalive_timers(1234)
            return [counts(each, name).get(key, 0) for each in (first, second)]

        rounds = [found() for _ in range(6)]
        # other connections of this machine have such timers, too
        rises = [[now - then for then, now in zip(*pair, strict=True)] for pair in pairwise(rounds)]
        assert min(rises) == [1234, 1234]


def test_what_no_header_has_is_refused_even_so(
    as_if_for_these_headers: HostFs, shipped: Path
) -> None:
    options = Options(host=as_if_for_these_headers, backend="bcc")
    with pytest.raises(BpfError) as caught:
        backends.load(shipped_program(shipped, "cfs-throttling"), options)
    assert (
        "raw_tp/sched_switch: reads struct cfs_rq, and neither BTF nor the kernel's headers tell "
        "what it is"
    ) in str(caught.value)


def test_absent_fields_and_values_are_absent_from_what_headers_tell(shipped: Path) -> None:
    headers = kernel_headers.find(HostFs(), os.uname().release)
    assert headers is not None
    data = (shipped / "biolatency.bpf.o").read_bytes()
    declared = verify_object(data)
    assert declared.btf is not None
    relocated = [each for every in relocations(data).values() for each in every]
    with bcc_process.open_process(HostFs(), headers) as process:
        found = header_types(declared.btf, relocated, process)
    assert found.known == {"request", "request_queue", "gendisk", "req_op", "req_opf"}
    request = found.btf.find("request", "struct")
    operations = found.btf.find("req_op", "enum")
    assert request is not None
    assert operations is not None
    # Debian 12's 6.1: no rq_disk since 5.17, no REQ_OP_WRITE_SAME since 5.18
    assert {member.name for member in found.btf.members(request)} == {
        *("q", "cmd_flags", "__data_len", "start_time_ns")
    }
    assert dict(found.btf.values(operations))["REQ_OP_DRV_IN"] == 34
    old = found.btf.find("req_opf", "enum")
    assert old is not None
    assert "REQ_OP_WRITE_SAME" not in dict(found.btf.values(old))


def test_a_field_that_the_kernel_lacks_is_not_read_from_elsewhere(
    tmp_path: Path, shipped: Path
) -> None:
    btf = tmp_path / "vmlinux"
    btf.write_bytes(build({"timer_list": [Field("expires", 16, 8)]}))
    with pytest.raises(BpfError) as caught:
        backends.load(
            shipped_program(shipped, "raw-tracepoints"),
            Options(backend="bcc", custom_btf=str(btf)),
        )
    assert str(caught.value) == (
        "raw-tracepoints: hook 'timer starts' has no way into this kernel by bcc: "
        "raw_tp/timer_start: reads a field that this kernel has not"
    )


# No way by bcc, whatever the kernel: each for a reason that docs/kernels-without-btf.md gives.
NOT_BY_BCC = {"bpf-jit", "cpi", "llcstat", "tcp-retransmit", "tcp-window-clamps", "usdt"}

SURVEY = """
import json, sys
from exporter.ebpf.backends import examine
from exporter.ebpf.kernel import Options
from exporter.ebpf.spec import read_program
from pathlib import Path
rows = [examine(read_program(file), Options(backend="bcc")) for file in Path("bpf").glob("*.yaml")]
print(json.dumps({row.name: [row.hook, row.reason] for row in rows}))
"""


def test_every_program_runs_by_bcc_but_those_that_are_said_not_to() -> None:
    done = subprocess.run(
        [*IN_PRIVATE, sys.executable, "-c", SURVEY],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(done.stdout)
    assert {name: why for name, (hook, why) in rows.items() if hook is None}.keys() == NOT_BY_BCC


def test_nothing_of_bcc_stays_but_what_counts() -> None:
    source = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from exporter.ebpf.backends import load\n"
        "from exporter.ebpf.kernel import Options\n"
        "from exporter.ebpf.spec import read_program\n"
        "running = load(read_program(Path('bpf/timers.yaml')), Options(backend='bcc'))\n"
        "children = Path('/proc/self/task/self/children').read_text().split()\n"
        "mapped = Path('/proc/self/maps').read_text()\n"
        "print(children, 'libbcc' in mapped or 'LLVM' in mapped, running.maps.keys())\n"
    ).replace("/proc/self/task/self", "/proc/thread-self")
    done = subprocess.run(
        [*IN_PRIVATE, sys.executable, "-c", source],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[] False dict_keys(['timer_starts_total'])\n"


def test_a_full_map_is_counted_by_bcc_too(shipped: Path) -> None:
    program = shipped_program(shipped, "raw-tracepoints")
    running = backends.load(
        program, Options(backend="bcc", max_entries={"raw_timer_starts_total": 1})
    )
    try:
        assert running.maps["raw_timer_starts_total"].info.max_entries == 1
        refused = 0
        for _ in range(200):
            subprocess.run(["sleep", "0.005"], check=True)
            refused = running.refused_updates()["raw_timer_starts_total"]
            if refused:
                break
        assert refused > 0
    finally:
        running.close()


def test_where_bcc_is_not_installed_one_line_says_what_to_install(
    tmp_path: Path, shipped: Path
) -> None:
    options = Options(backend="bcc", host=HostFs(own=tmp_path))
    with pytest.raises(BpfError) as caught:
        backends.load(shipped_program(shipped, "raw-tracepoints"), options)
    assert str(caught.value) == (
        "raw-tracepoints: bcc is not installed: apt-get install python3-bpfcc "
        f"linux-headers-{os.uname().release}"
    )
    assert bcc_process.package(HostFs(own=tmp_path)) is None


def test_a_program_without_its_source_is_one_line(tmp_path: Path, shipped: Path) -> None:
    program = shipped_program(shipped, "raw-tracepoints")
    copy = tmp_path / "raw-tracepoints.bpf.o"
    copy.write_bytes(program.object.read_bytes())
    with pytest.raises(BpfError) as caught:
        backends.load(program._replace(object=copy), Options(backend="bcc"))
    missing = tmp_path / "raw-tracepoints.bpf.c"
    assert str(caught.value) == f"raw-tracepoints: bcc needs its source, and there is no {missing}"
