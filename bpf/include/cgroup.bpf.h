// SPDX-License-Identifier: GPL-2.0
// Which cgroup a task belongs to, for what is counted by pod: the one that shares out CPU time, or
// the one that shares out memory.
//
// Pods live where the controllers are, on v1 and hybrid mounts as well as on v2. Ids of different
// hierarchies overlap, so labels made of these say `controller: cpu` (or memory) to their decoder.
#pragma once

#include "kernel.h"

// One step through the kernel's structs: a plain load where the verifier knows what `p` points to
// (tp_btf, iter: about 1 ns), else by a helper (about 15 ns).
#ifndef KM_READ
#define KM_READ(known, p, field) ((known) ? (p)->field : BPF_CORE_READ(p, field))
#endif

static __always_inline u64 km_cgroup_id(struct cgroup *cgroup, bool known)
{
	struct kernfs_node *node = KM_READ(known, cgroup, kn);
	struct kernfs_node___before_5_5 *older = (void *)node;

	// a kernel that old has no hook whose types are known
	if (!known && bpf_core_field_exists(older->id.id))
		return BPF_CORE_READ(older, id.id);
	return KM_READ(known, node, id);
}

// The task's cgroup where the controller with this number is, which the kernel has.
//
// On v2 a task's own cgroup need not have the controller, and the nearest one above that has it is
// what the task's state of it names: then it is the task's cgroup that is meant.
static __always_inline u64 km_cgroup_of(struct task_struct *task, u64 controller, bool known)
{
	struct css_set *set = KM_READ(known, task, cgroups);
	struct cgroup *unified = KM_READ(known, set, dfl_cgrp);
	struct cgroup_subsys_state *state = 0;
	struct cgroup *cgroup;
	u64 at;

	at = bpf_core_field_offset(struct css_set, subsys) + controller * sizeof(void *);
	if (known)
		state = *(struct cgroup_subsys_state **)((void *)set + at);
	else
		bpf_probe_read_kernel(&state, sizeof(state), (void *)set + at);
	cgroup = KM_READ(known, state, cgroup);
	if (KM_READ(known, cgroup, root) == KM_READ(known, unified, root))
		cgroup = unified;
	return km_cgroup_id(cgroup, known);
}

static __always_inline u64 km_unified_cgroup_of(struct task_struct *task, bool known)
{
	struct css_set *set = KM_READ(known, task, cgroups);

	return km_cgroup_id(KM_READ(known, set, dfl_cgrp), known);
}

static __always_inline u64 km_cpu_cgroup_of(struct task_struct *task, bool known)
{
	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, cpu_cgrp_id))
		return km_unified_cgroup_of(task, known);
	return km_cgroup_of(task, bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id), known);
}

// The same by who shares out memory; `controller: memory` for the decoder.
static __always_inline u64 km_memory_cgroup_of(struct task_struct *task, bool known)
{
	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return km_unified_cgroup_of(task, known);
	return km_cgroup_of(task, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id),
			    known);
}

// `_btf` for tasks that a tp_btf hook passes, the other for all others.
#define cpu_cgroup_of(task) km_cpu_cgroup_of(task, false)
#define cpu_cgroup_of_btf(task) km_cpu_cgroup_of(task, true)
#define memory_cgroup_of(task) km_memory_cgroup_of(task, false)
#define memory_cgroup_of_btf(task) km_memory_cgroup_of(task, true)
