// SPDX-License-Identifier: GPL-2.0
// Tasks that the scheduler moved to another CPU, by the cgroup of the task that was moved.
#include "cgroup.bpf.h"
#include "maps.bpf.h"

RECENT_COUNTER_MAP(cgroup_sched_migrations_total, u64, 4096); // cgroup id

TP_BTF(migrated_btf, sched_migrate_task, struct task_struct *task)
{
	u64 cgroup = cpu_cgroup_of_btf(task);

	count(cgroup_sched_migrations_total, &cgroup, 1);
	return 0;
}

RAW_TP(migrated_raw, sched_migrate_task, struct task_struct *task)
{
	u64 cgroup = cpu_cgroup_of(task);

	count(cgroup_sched_migrations_total, &cgroup, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
