// SPDX-License-Identifier: GPL-2.0
// Calls of malloc() in the host's C library, by the caller's cgroup. An example of uprobes: each
// call costs its process about a microsecond.
//
// A library without a folder is looked for where the host keeps its libraries (exporter/ebpf/
// binaries.py). Containers with a C library of their own are not seen: a uprobe is on one file.
#include "cgroup.bpf.h"
#include "maps.bpf.h"

RECENT_COUNTER_MAP(libc_malloc_calls_total, u64, 2048); // cgroup id

static __always_inline int called(void)
{
	u64 cgroup = cpu_cgroup_of((struct task_struct *)bpf_get_current_task());

	count(libc_malloc_calls_total, &cgroup, 1);
	return 0;
}

SEC("uprobe/libc.so.6:malloc")
int malloc_glibc(struct pt_regs *ctx)
{
	return called();
}

SEC("uprobe/ld-musl-*.so.1:malloc")
int malloc_musl(struct pt_regs *ctx)
{
	return called();
}

char LICENSE[] SEC("license") = "GPL";
