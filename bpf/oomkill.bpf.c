// SPDX-License-Identifier: GPL-2.0
// Processes that the kernel killed for want of memory, by the victim's memory cgroup and by whether
// a cgroup's limit or the whole machine had run out.
//
// The scope is told by what the killing thread reclaimed last: the OOM killer is called by a
// thread that has just tried to reclaim memory in vain, of a cgroup or of the machine.
#include "cgroup.bpf.h"
#include "maps.bpf.h"

enum scope {
	GLOBAL,
	CGROUP,
};

struct victim {
	u64 task;
	u64 cgroup;
	u32 tgid;
	u32 unused;
};

COUNTER_MAP(oom_kills_total, u64, 4096);        // cgroup id
COUNTER_MAP(oom_kills_by_scope_total, u32, 2);  // enum scope
RECENT_MAP(oom_reclaims, u32, u32, 16384);      // thread → enum scope of its last reclaim
RECENT_MAP(oom_victims, u32, struct victim, 1024); // thread → whom it sent SIGKILL last

#define SIGKILL 9

static __always_inline u32 this_thread(void)
{
	return (u32)bpf_get_current_pid_tgid();
}

static __always_inline int killed(u64 cgroup)
{
	u32 thread = this_thread();
	u32 *scope = get(oom_reclaims, &thread);

	count(oom_kills_total, &cgroup, 1);
	// A kill by SysRq follows no reclaim, and is of no scope.
	if (scope) {
		u32 key = *scope;

		count(oom_kills_by_scope_total, &key, 1);
	}
	return 0;
}

// From 6.9 on the victim itself is passed. It is read directly, not by a helper: so a kernel that
// passes a number there refuses this function, and the next way is tried.
TP_BTF(victim_task, mark_victim, struct task_struct *victim)
{
	if (!victim->tgid)
		return 0;
	return killed(memory_cgroup_of(victim));
}

// Before, there is only a number, which may belong to another PID namespace's view of nothing: the
// victim is whom this thread has just sent SIGKILL (mm/oom_kill.c: __oom_kill_process).
RAW_TP(victim_signal, signal_generate, int sig, void *info, struct task_struct *task)
{
	u32 thread = this_thread();
	struct victim victim = {.task = (u64)task};

	if (sig != SIGKILL)
		return 0;
	victim.cgroup = memory_cgroup_of(task);
	victim.tgid = BPF_CORE_READ(task, tgid);
	put(oom_victims, &thread, &victim);
	return 0;
}

RAW_TP(victim_number, mark_victim, u64 number)
{
	u32 thread = this_thread();
	struct victim *victim = get(oom_victims, &thread);

	// newer kernels pass a task here, which serves as well
	if (victim && (victim->tgid == (u32)number || victim->task == number))
		return killed(victim->cgroup);
	// It was dying anyway and got no signal: then it is most often the thread itself.
	if ((u32)number == bpf_get_current_pid_tgid() >> 32)
		return killed(memory_cgroup_of((void *)bpf_get_current_task()));
	return killed(0);
}

RAW_TP(cgroup_reclaim, mm_vmscan_memcg_reclaim_begin)
{
	u32 thread = this_thread();
	u32 scope = CGROUP;

	put(oom_reclaims, &thread, &scope);
	return 0;
}

RAW_TP(direct_reclaim, mm_vmscan_direct_reclaim_begin)
{
	u32 thread = this_thread();
	u32 scope = GLOBAL;

	put(oom_reclaims, &thread, &scope);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
