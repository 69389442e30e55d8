// SPDX-License-Identifier: GPL-2.0
// How long the kernel took to shrink the memory of a node: one pass over its pages and slabs.
//
// Where shrink_node() itself cannot be hooked, passes are told apart by what they say on the way:
// within one thread's reclaim, what is said of another node or with another priority belongs to
// the next pass (mm/vmscan.c: do_try_to_free_pages lowers the priority from pass to pass). Passes
// that found nothing to take say nothing and count as part of their neighbour; kswapd's, which do
// not begin and end with its being awake, are not seen.
#include "hist.bpf.h"

#define UNKNOWN -1

struct pass {
	u64 since; // ns
	s32 node;
	s32 priority;
};

HIST_MAP(shrink_node_latency_seconds, u32, 27, 1);
SCRATCH_MAP(shrink_passes, u32, struct pass, 8192); // thread → what it is at

static __always_inline u32 this_thread(void)
{
	return (u32)bpf_get_current_pid_tgid();
}

static __always_inline void observe(u64 took)
{
	u32 only = 0;

	observe_exp2(shrink_node_latency_seconds, &only, took, 1000);
}

static __always_inline int begun(void)
{
	u32 thread = this_thread();
	struct pass pass = {
		.since = bpf_ktime_get_ns(), .node = UNKNOWN, .priority = UNKNOWN};

	put(shrink_passes, &thread, &pass);
	return 0;
}

static __always_inline int said(s32 node, s32 priority)
{
	u32 thread = this_thread();
	struct pass *pass = get(shrink_passes, &thread);
	u64 now;

	if (!pass || (pass->node == node && pass->priority == priority))
		return 0;
	if (pass->node != UNKNOWN) {
		now = bpf_ktime_get_ns();
		observe(now - pass->since);
		pass->since = now;
	}
	pass->node = node;
	pass->priority = priority;
	return 0;
}

static __always_inline int ended(void)
{
	u32 thread = this_thread();
	struct pass *pass = get(shrink_passes, &thread);

	if (!pass)
		return 0;
	observe(bpf_ktime_get_ns() - pass->since);
	drop(shrink_passes, &thread);
	return 0;
}

FENTRY(enter_fentry, shrink_node)
{
	return begun();
}

FEXIT(leave_fexit, shrink_node)
{
	return ended();
}

KPROBE(enter_kprobe, shrink_node)
{
	return begun();
}

KRETPROBE(leave_kretprobe, shrink_node)
{
	return ended();
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

RAW_TP(pages_shrunk, mm_vmscan_lru_shrink_inactive, int nid, u64 scanned, u64 reclaimed,
       void *stat, int priority)
{
	return said(nid, priority);
}

RAW_TP(slab_shrunk, mm_shrink_slab_start, void *shrinker, struct shrink_control *sc, long objects,
       u64 cache_items, u64 delta, u64 total_scan, int priority)
{
	return said(BPF_CORE_READ(sc, nid), priority);
}

char LICENSE[] SEC("license") = "GPL";
