// SPDX-License-Identifier: GPL-2.0
// getpriority() calls of processes in chosen cgroups, chosen by id and by cgroup storage.
#include "maps.bpf.h"

#if defined(__TARGET_ARCH_x86)
#define NR_GETPRIORITY 140
#else
#define NR_GETPRIORITY 141
#endif

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u64);
} chosen_ids SEC(".maps");

struct {
	__uint(type, 32); // BPF_MAP_TYPE_CGRP_STORAGE, newer than the headers that we compile with
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} chosen_cgroups SEC(".maps");

COUNTER_MAP(calls_by_id_total, u64, 1024);
COUNTER_MAP(calls_by_storage_total, u64, 1024);

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct cgroup;
struct css_set___here {
	struct cgroup *dfl_cgrp;
};
struct task_struct___here {
	struct css_set___here *cgroups;
};
#pragma clang attribute pop

TP_BTF(on_enter, sys_enter, struct pt_regs *regs, long id)
{
	struct task_struct___here *task = (void *)bpf_get_current_task_btf();
	u64 cgroup = bpf_get_current_cgroup_id();

	if (id != NR_GETPRIORITY)
		return 0;
	if (bpf_map_lookup_elem(&chosen_ids, &cgroup))
		count(calls_by_id_total, &cgroup, 1);
	if (bpf_cgrp_storage_get(&chosen_cgroups, task->cgroups->dfl_cgrp, 0, 0))
		count(calls_by_storage_total, &cgroup, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
