"""Kernels that carry no BTF: a file of the user's, or what tracefs says, stands in for it.

The kernel's own is hidden in mounts that only one process sees, and what counts without it is
compared with what counts with it, at the same time.
"""

from pathlib import Path

import pytest

from tests.kernel.beside import beside

pytestmark = pytest.mark.bpf

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")


@pytest.fixture(scope="module")
def btf_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The kernel's BTF, copied to where its owner would put one from BTFHub."""
    file = tmp_path_factory.mktemp("btf") / "vmlinux"
    file.write_bytes(KERNEL_BTF.read_bytes())
    return str(file)


@pytest.mark.usefixtures("shipped")
def test_timers_counts_by_types_that_tracefs_tells() -> None:
    outcome = beside("timers", hide_btf=True, backend="core")
    assert outcome.taken == ["tracepoint/timer/timer_start"]
    first, second = outcome.totals("timer_starts_total")
    assert first > 20_000
    assert second == pytest.approx(first, rel=0.02)


@pytest.mark.usefixtures("shipped")
def test_syscalls_reads_no_task_where_nothing_is_known_of_tasks() -> None:
    outcome = beside("syscalls", hide_btf=True, backend="core")
    assert outcome.taken == ["tracepoint/raw_syscalls/sys_enter", "raw_tp/sys_exit"]
    for name, least in (("syscalls_total", 25_000), ("syscall_errors_total", 5_000)):
        first, second = outcome.totals(name)
        assert first >= least
        assert second == pytest.approx(first, rel=0.02)


@pytest.mark.usefixtures("shipped")
def test_what_reads_the_kernels_structs_is_off_and_says_which() -> None:
    assert beside("raw-tracepoints", hide_btf=True, backend="core").error == (
        "raw-tracepoints: hook 'timer starts' has no way into this kernel: raw_tp/timer_start: "
        "reads struct timer_list, and this kernel carries no BTF"
    )


@pytest.mark.usefixtures("shipped")
def test_a_btf_file_of_the_users_stands_in_for_the_kernels(btf_file: str) -> None:
    outcome = beside("raw-tracepoints", hide_btf=True, custom_btf=btf_file, backend="core")
    assert outcome.taken == ["raw_tp/timer_start"]
    first, second = outcome.totals("raw_timer_starts_total")
    assert first > 20_000
    assert second == pytest.approx(first, rel=0.02)


@pytest.mark.usefixtures("shipped")
def test_with_a_btf_file_hooks_by_the_kernels_own_btf_are_passed_over(btf_file: str) -> None:
    outcome = beside("syscalls", hide_btf=True, custom_btf=btf_file, backend="core")
    assert outcome.taken == ["raw_tp/sys_enter", "raw_tp/sys_exit"]
