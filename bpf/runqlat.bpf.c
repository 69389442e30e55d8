// SPDX-License-Identifier: GPL-2.0
// How long tasks that could run waited for a CPU, by the cgroup that shares out their CPU time.
//
// The wait runs from when a task was woken, or switched out although it wanted to go on, until it
// is switched in: what /proc/<pid>/schedstat sums up in its second number.
#include "hist.bpf.h"
#include "sched.bpf.h"

RECENT_HIST_MAP(runq_latency_seconds, u64, 27, 2048); // cgroup id
// Thread → ns, 0: does not wait. Rows stay for a thread's next wait, as adding and deleting one
// each time would cost more than all the rest.
RECENT_MAP(runq_since, u32, u64, 16384);

static __always_inline int waits(u32 pid, u64 now)
{
	u64 *since = get(runq_since, &pid);

	if (since)
		*since = now;
	else
		put(runq_since, &pid, &now);
	return 0;
}

static __always_inline int switched(bool preempted, struct task_struct *prev,
				    struct task_struct *next, bool known)
{
	u64 now = bpf_ktime_get_ns();
	u32 left = KM_READ(known, prev, pid);
	u32 came = KM_READ(known, next, pid);
	u64 *since;
	u64 cgroup;

	// 0 is each CPU's idle task
	if (left && km_still_wants(preempted, prev, known))
		waits(left, now);
	if (!came)
		return 0;
	since = get(runq_since, &came);
	if (!since || !*since)
		return 0;
	cgroup = km_cpu_cgroup_of(next, known);
	observe_exp2(runq_latency_seconds, &cgroup, now > *since ? now - *since : 0, 1000);
	*since = 0;
	return 0;
}

TP_BTF(wakeup_btf, sched_wakeup, struct task_struct *task)
{
	return waits(task->pid, bpf_ktime_get_ns());
}

TP_BTF(wakeup_new_btf, sched_wakeup_new, struct task_struct *task)
{
	return waits(task->pid, bpf_ktime_get_ns());
}

TP_BTF(switch_btf, sched_switch, bool preempted, struct task_struct *prev,
       struct task_struct *next)
{
	return switched(preempted, prev, next, true);
}

RAW_TP(wakeup_raw, sched_wakeup, struct task_struct *task)
{
	return waits(BPF_CORE_READ(task, pid), bpf_ktime_get_ns());
}

RAW_TP(wakeup_new_raw, sched_wakeup_new, struct task_struct *task)
{
	return waits(BPF_CORE_READ(task, pid), bpf_ktime_get_ns());
}

RAW_TP(switch_raw, sched_switch, bool preempted, struct task_struct *prev,
       struct task_struct *next)
{
	return switched(preempted, prev, next, false);
}

char LICENSE[] SEC("license") = "GPL";
