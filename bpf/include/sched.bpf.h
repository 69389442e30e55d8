// SPDX-License-Identifier: GPL-2.0
// What a switch from one task to another says of the one that leaves.
#pragma once

#include "cgroup.bpf.h"

// Whether a task that is switched out would go on if it could: it was preempted (whatever it was
// about to wait for), or has not said that it waits. A throttled one is among them.
// kernel/sched/core.c: __schedule()
static __always_inline bool km_still_wants(bool preempted, struct task_struct *task, bool known)
{
	struct task_struct___before_5_14 *older = (void *)task;

	if (preempted)
		return true;
	if (bpf_core_field_exists(older->state))
		return !KM_READ(known, older, state);
	return !KM_READ(known, task, __state);
}
