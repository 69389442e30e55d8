// SPDX-License-Identifier: GPL-2.0
// Cycles and instructions by the cgroup that shares out CPU time, from the hardware's counters:
// cycles per instruction tell a task that waits for memory from one that works.
//
// The counters interrupt some hundred times a second on each CPU that works, and say how many
// events that stands for, so numbers are right in the long run. What one interrupt finds running is
// charged with all of them: a cgroup that runs for a tenth of a second is known to a third.
#include "maps.bpf.h"
#include "cgroup.bpf.h"

#include <linux/bpf_perf_event.h>

// include/uapi/linux/perf_event.h: PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES and
// PERF_COUNT_HW_INSTRUCTIONS; tests count by clocks, which every machine has
#ifndef CYCLES
#define CYCLES "type=0,config=0"
#define INSTRUCTIONS "type=0,config=1"
#endif

// No LRU: the interrupt may come while the kernel holds its locks.
COUNTER_MAP(cgroup_cycles_total, u64, 8192);
COUNTER_MAP(cgroup_instructions_total, u64, 8192);

static __always_inline u64 running(void)
{
	return cpu_cgroup_of((struct task_struct *)bpf_get_current_task());
}

SEC("perf_event/" CYCLES ",frequency=100")
int cycles(struct bpf_perf_event_data *ctx)
{
	u64 cgroup = running();

	count(cgroup_cycles_total, &cgroup, ctx->sample_period);
	return 0;
}

SEC("perf_event/" INSTRUCTIONS ",frequency=100")
int instructions(struct bpf_perf_event_data *ctx)
{
	u64 cgroup = running();

	count(cgroup_instructions_total, &cgroup, ctx->sample_period);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
