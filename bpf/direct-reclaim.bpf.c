// SPDX-License-Identifier: GPL-2.0
// How long tasks that wanted memory had to reclaim it themselves first, by the memory cgroup of
// the task that waited: for the whole machine, or because a cgroup had reached its limit.
//
// What delay accounting calls freepages_delay (mm/vmscan.c: do_try_to_free_pages).
#include "cgroup.bpf.h"
#include "hist.bpf.h"

RECENT_HIST_MAP(direct_reclaim_seconds, u64, 27, 2048); // cgroup id
SCRATCH_MAP(direct_reclaim_starts, u32, u64, 8192);     // thread → ns

static __always_inline int begun(void)
{
	u32 thread = (u32)bpf_get_current_pid_tgid();
	u64 now = bpf_ktime_get_ns();

	put(direct_reclaim_starts, &thread, &now);
	return 0;
}

static __always_inline int ended(void)
{
	u32 thread = (u32)bpf_get_current_pid_tgid();
	u64 *since = get(direct_reclaim_starts, &thread);
	u64 cgroup, took;

	if (!since)
		return 0;
	took = bpf_ktime_get_ns() - *since;
	drop(direct_reclaim_starts, &thread);
	cgroup = memory_cgroup_of((struct task_struct *)bpf_get_current_task());
	observe_exp2(direct_reclaim_seconds, &cgroup, took, 1000);
	return 0;
}

RAW_TP(machine_begin, mm_vmscan_direct_reclaim_begin)
{
	return begun();
}

RAW_TP(machine_end, mm_vmscan_direct_reclaim_end)
{
	return ended();
}

RAW_TP(cgroup_begin, mm_vmscan_memcg_reclaim_begin)
{
	return begun();
}

RAW_TP(cgroup_end, mm_vmscan_memcg_reclaim_end)
{
	return ended();
}

char LICENSE[] SEC("license") = "GPL";
