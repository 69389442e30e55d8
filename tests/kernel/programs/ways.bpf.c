// SPDX-License-Identifier: GPL-2.0
// Functions that fail in each way there is, beside two that work.
#include "maps.bpf.h"

COUNTER_MAP(seen, u32, 16);

static __always_inline int count_as(u32 key)
{
	count(seen, &key, 1);
	return 0;
}

// refused by the verifier: there is no second argument of this kind to read through
TP_BTF(bad_read, timer_start, u64 *number, u64 expires)
{
	return *(u64 *)expires;
}

// refused before the verifier: no such tracepoint in BTF
TP_BTF(no_such_event, kernmesh_no_such_event, u64 a)
{
	return count_as(1);
}

// refused by a relocation: the kernel has no such field
struct timer_list___other {
	u64 kernmesh_no_such_field;
} __attribute__((preserve_access_index));

TP_BTF(no_such_field, timer_start, struct timer_list___other *timer)
{
	u64 value = BPF_CORE_READ(timer, kernmesh_no_such_field);

	return count_as(value);
}

// loads, cannot be attached
RAW_TP(no_such_raw_event, kernmesh_no_such_event)
{
	return count_as(2);
}

SEC("tracepoint/kernmesh/no_such_event")
int no_such_tracepoint(void *ctx)
{
	return count_as(3);
}

SEC("tracepoint/sched/sched_process_exec")
int exec_tracepoint(void *ctx)
{
	return count_as(4);
}

RAW_TP(exec_raw, sched_process_exec)
{
	return count_as(5);
}

RAW_TP(fork_raw, sched_process_fork)
{
	return count_as(6);
}

char LICENSE[] SEC("license") = "GPL";
