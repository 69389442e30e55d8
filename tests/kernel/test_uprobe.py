"""uprobe against a program that calls malloc() a known number of times."""

import subprocess
from pathlib import Path

import pytest

from exporter.ebpf.kernel import Options
from exporter.ebpf.spec import HookSpec
from exporter.errors import BpfError
from exporter.hostfs import HostFs
from tests.kernel.conftest import Load, counts, program, shipped_program
from tests.kernel.tasks import Task, cpu_cgroup, ending

pytestmark = pytest.mark.bpf

MALLOCS = 4321
# read(2) and write(2) need no memory: between them is malloc and nothing else
SOURCE = """
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
	char byte;
	while (read(0, &byte, 1) == 1) {
		for (int i = 0; i < %d; i++) {
			void *volatile kept = malloc(32);
			free(kept);
		}
		if (write(1, ".", 1) != 1)
			return 1;
	}
	return 0;
}
"""


@pytest.fixture
def allocating(tmp_path: Path) -> Path:
    source, binary = tmp_path / "allocating.c", tmp_path / "allocating"
    source.write_text(SOURCE % MALLOCS)
    subprocess.run(["gcc", "-O0", "-o", binary, source], check=True)
    return binary


def test_uprobe_counts_each_call_in_its_callers_cgroup(
    shipped: Path, loaded: Load, allocating: Path
) -> None:
    running = loaded(shipped_program(shipped, "uprobe"))
    task, other = Task([allocating]), Task([allocating])
    with cpu_cgroup() as mine, cpu_cgroup() as others, ending(task, other):
        mine.add(task)
        others.add(other)
        task.work()
        before = counts(running, "libc_malloc_calls_total").get(mine.key, 0)
        others_before = counts(running, "libc_malloc_calls_total").get(others.key, 0)
        task.work()
        task.work()
        other.work()
        found = counts(running, "libc_malloc_calls_total")
        assert found[mine.key] - before == 2 * MALLOCS
        assert found[others.key] - others_before == MALLOCS
    assert running.refused_updates() == {"libc_malloc_calls_total": 0}


def test_where_the_host_has_no_such_library_the_next_way_is_tried_and_all_are_named(
    shipped: Path, loaded: Load, tmp_path: Path
) -> None:
    empty = Options(host=HostFs(root=tmp_path))
    with pytest.raises(BpfError) as refused:
        loaded(shipped_program(shipped, "uprobe"), empty)
    for name in ("libc.so.6", "ld-musl-*.so.1"):
        assert f"no {name} among the programs and libraries of {tmp_path}" in str(refused.value)


def test_a_function_that_the_library_lacks_is_said(compiled: Path, loaded: Load) -> None:
    hooks = [HookSpec("missing", (("missing_function",),))]
    with pytest.raises(BpfError, match=r"uprobe/libc.so.6:no_such_function: cannot be attached"):
        loaded(program(compiled, "attaching", hooks))


def test_a_return_is_counted_as_well_as_a_call(
    compiled: Path, loaded: Load, allocating: Path
) -> None:
    hooks = [HookSpec("returns", (("malloc_returns",),))]
    running = loaded(program(compiled, "attaching", hooks))
    task = Task([allocating])
    with ending(task):
        task.work()
        key = task.pid.to_bytes(4, "little")
        before = counts(running, "by_process").get(key, 0)
        task.work()
        assert counts(running, "by_process")[key] - before == MALLOCS
