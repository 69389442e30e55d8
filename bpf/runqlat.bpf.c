// SPDX-License-Identifier: GPL-2.0
// How long tasks that could run waited for a CPU, by the cgroup that shares out their CPU time.
//
// The wait runs from when a task was woken, or switched out although it wanted to go on, until it
// is switched in: what /proc/<pid>/schedstat sums up in its second number.
//
// Beside that, for attribution and not exported: which cgroup held the CPU that it then got, and
// for how much of the wait. Of several it is the last, for as long as its tasks ran there one after
// the other.
// And how many tasks each cgroup made.
#include "hist.bpf.h"
#include "sched.bpf.h"

RECENT_HIST_MAP(runq_latency_seconds, u64, 27, 2048); // cgroup id
// Thread → ns, 0: does not wait. Rows stay for a thread's next wait, as adding and deleting one
// each time would cost more than all the rest.
RECENT_MAP(runq_since, u32, u64, 16384);

struct behind {
	u64 victim; // cgroup ids, never the same
	u64 by;
};

RECENT_HIST_MAP(runq_behind, struct behind, 27, 1024); // µs of waits
RECENT_COUNTER_MAP(runq_forks, u64, 2048); // tasks made, by cgroup id
// Each CPU's last switch, which cgroup holds it, since when, and until when it did (all ns).
COUNTER_ARRAY(runq_holder, 4);

#define SHORT_NS 100000 // what runs for less in between takes the CPU from nobody

static __always_inline u64 *state(u32 which)
{
	return get(runq_holder, &which);
}

// Who has had the CPU until now, to whom the one that leaves may belong; gives for how long.
static __always_inline u64 holds(u64 left, u64 now)
{
	u64 *switched = state(0), *cgroup = state(1), *since = state(2), *until = state(3);
	u64 ran;

	if (!switched || !cgroup || !since || !until)
		return 0;
	ran = *switched && now > *switched ? now - *switched : 0;
	if (*cgroup != left && (ran >= SHORT_NS || now - *until >= 2 * SHORT_NS)) {
		*cgroup = left;
		*since = now - ran;
	}
	if (*cgroup == left)
		*until = now;
	*switched = now;
	return now - *since;
}

static __always_inline void held(u64 victim, u64 waited, u64 had)
{
	u64 *by = state(1);
	struct behind key;

	if (!by || !*by || *by == victim)
		return;
	key.victim = victim;
	key.by = *by;
	observe_exp2(runq_behind, &key, waited < had ? waited : had, 1000);
}

static __always_inline int waits(u32 pid, u64 now)
{
	u64 *since = get(runq_since, &pid);

	if (since)
		*since = now;
	else
		put(runq_since, &pid, &now);
	return 0;
}

static __always_inline int made(struct task_struct *task, bool known)
{
	u64 cgroup = km_cpu_cgroup_of(task, known);

	count(runq_forks, &cgroup, 1);
	return waits(KM_READ(known, task, pid), bpf_ktime_get_ns());
}

static __always_inline int switched(bool preempted, struct task_struct *prev,
				    struct task_struct *next, bool known)
{
	u64 now = bpf_ktime_get_ns();
	u32 left = KM_READ(known, prev, pid);
	u32 came = KM_READ(known, next, pid);
	u64 cgroup, waited, had;
	u64 *since;

	had = holds(left ? km_cpu_cgroup_of(prev, known) : 0, now);
	// 0 is each CPU's idle task
	if (left && km_still_wants(preempted, prev, known))
		waits(left, now);
	if (!came)
		return 0;
	since = get(runq_since, &came);
	if (!since || !*since)
		return 0;
	cgroup = km_cpu_cgroup_of(next, known);
	waited = now > *since ? now - *since : 0;
	observe_exp2(runq_latency_seconds, &cgroup, waited, 1000);
	held(cgroup, waited, had);
	*since = 0;
	return 0;
}

TP_BTF(wakeup_btf, sched_wakeup, struct task_struct *task)
{
	return waits(task->pid, bpf_ktime_get_ns());
}

TP_BTF(wakeup_new_btf, sched_wakeup_new, struct task_struct *task)
{
	return made(task, true);
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
	return made(task, false);
}

RAW_TP(switch_raw, sched_switch, bool preempted, struct task_struct *prev,
       struct task_struct *next)
{
	return switched(preempted, prev, next, false);
}

char LICENSE[] SEC("license") = "GPL";
