// SPDX-License-Identifier: GPL-2.0
// Who had to leave a CPU while it wanted to go on, and for whom, by pairs of cgroups.
//
// What /proc/<pid>/status calls nonvoluntary_ctxt_switches: sched_yield() is among them.
#include "maps.bpf.h"
#include "sched.bpf.h"

struct preemption {
	u64 victim; // cgroup ids
	u64 by;
};

RECENT_COUNTER_MAP(preemptions_total, struct preemption, 8192);

static __always_inline int switched(bool preempted, struct task_struct *prev,
				    struct task_struct *next, bool known)
{
	struct preemption key;

	// 0 is each CPU's idle task: whoever leaves for that is throttled, and makes room for nobody
	if (!KM_READ(known, prev, pid) || !km_still_wants(preempted, prev, known) ||
	    !KM_READ(known, next, pid))
		return 0;
	key.victim = km_cpu_cgroup_of(prev, known);
	key.by = km_cpu_cgroup_of(next, known);
	count(preemptions_total, &key, 1);
	return 0;
}

TP_BTF(switch_btf, sched_switch, bool preempted, struct task_struct *prev,
       struct task_struct *next)
{
	return switched(preempted, prev, next, true);
}

RAW_TP(switch_raw, sched_switch, bool preempted, struct task_struct *prev,
       struct task_struct *next)
{
	return switched(preempted, prev, next, false);
}

char LICENSE[] SEC("license") = "GPL";
