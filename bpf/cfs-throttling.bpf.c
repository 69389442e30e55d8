// SPDX-License-Identifier: GPL-2.0
// How long a cgroup's tasks were kept off a CPU because the cgroup's quota (or one above it) was
// used up, each time and on each CPU.
//
// Best is the time that the scheduler itself sums up for each run queue (kernel/sched/fair.c:
// tg_unthrottle_up): it is looked at when a task comes on a CPU, so a wait for the CPU after the
// throttling has ended does not count.
#include "cgroup.bpf.h"
#include "hist.bpf.h"

RECENT_HIST_MAP(cfs_throttling_seconds, u64, 21, 2048); // cgroup id
// Run queue → its sum when it was looked at last, or where that is not to be had, since when it is
// throttled (0: is not); ns.
RECENT_MAP(cfs_throttled, u64, u64, 16384);

static __always_inline void observe(struct cfs_rq *cfs_rq, u64 took, bool known)
{
	struct task_group *group = KM_READ(known, cfs_rq, tg);
	u64 id = km_cgroup_id(KM_READ(known, group, css.cgroup), known);

	observe_exp2(cfs_throttling_seconds, &id, took, 1000);
}

static __always_inline int switched_summed(struct task_struct *prev, struct task_struct *next,
					   bool known)
{
	struct cfs_rq *leaves = KM_READ(known, prev, se.cfs_rq);
	struct cfs_rq *comes = KM_READ(known, next, se.cfs_rq);
	u64 id = (u64)leaves;
	u64 sum, before;
	u64 *seen;

	if (KM_READ(known, leaves, throttled_clock_self)) {
		sum = KM_READ(known, leaves, throttled_clock_self_time);
		if (!get(cfs_throttled, &id))
			put(cfs_throttled, &id, &sum);
	}
	sum = KM_READ(known, comes, throttled_clock_self_time);
	if (!sum)
		return 0; // was never throttled, as most
	id = (u64)comes;
	seen = get(cfs_throttled, &id);
	if (!seen) {
		put(cfs_throttled, &id, &sum);
		return 0;
	}
	before = *seen;
	if (sum == before)
		return 0;
	*seen = sum;
	// less: another one at the same place
	if (sum > before)
		observe(comes, sum - before, known);
	return 0;
}

static __always_inline int throttled(struct cfs_rq *cfs_rq)
{
	u64 id = (u64)cfs_rq;
	u64 now = bpf_ktime_get_ns();

	put(cfs_throttled, &id, &now);
	return 0;
}

static __always_inline int unthrottled(struct cfs_rq *cfs_rq)
{
	u64 id = (u64)cfs_rq;
	u64 *since = get(cfs_throttled, &id);
	u64 took;

	if (!since || !*since)
		return 0;
	took = bpf_ktime_get_ns() - *since;
	*since = 0;
	observe(cfs_rq, took, false);
	return 0;
}

static __always_inline int switched_timed(struct task_struct *prev, struct task_struct *next)
{
	struct cfs_rq *leaves = BPF_CORE_READ(prev, se.cfs_rq);
	u64 id = (u64)leaves;
	u64 *since;

	if (BPF_CORE_READ(leaves, throttle_count)) {
		since = get(cfs_throttled, &id);
		if (!since || !*since)
			throttled(leaves);
	}
	return unthrottled(BPF_CORE_READ(next, se.cfs_rq));
}

TP_BTF(switched_btf, sched_switch, bool preempt, struct task_struct *prev,
       struct task_struct *next)
{
	return switched_summed(prev, next, true);
}

RAW_TP(switched_raw, sched_switch, bool preempt, struct task_struct *prev,
       struct task_struct *next)
{
	return switched_summed(prev, next, false);
}

FENTRY(throttle_fentry, throttle_cfs_rq, struct cfs_rq *cfs_rq)
{
	return throttled(cfs_rq);
}

FENTRY(unthrottle_fentry, unthrottle_cfs_rq, struct cfs_rq *cfs_rq)
{
	return unthrottled(cfs_rq);
}

KPROBE(throttle_kprobe, throttle_cfs_rq, struct cfs_rq *cfs_rq)
{
	return throttled(cfs_rq);
}

KPROBE(unthrottle_kprobe, unthrottle_cfs_rq, struct cfs_rq *cfs_rq)
{
	return unthrottled(cfs_rq);
}

RAW_TP(switched_timed_raw, sched_switch, bool preempt, struct task_struct *prev,
       struct task_struct *next)
{
	return switched_timed(prev, next);
}

char LICENSE[] SEC("license") = "GPL";
