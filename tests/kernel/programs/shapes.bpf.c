// SPDX-License-Identifier: GPL-2.0
// Observes the value that the test has put into `wanted`, each time that its thread makes one
// certain system call.
#include "hist.bpf.h"

struct order {
	u64 value;
	u32 thread;
	u32 syscall;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct order);
} wanted SEC(".maps");

HIST_MAP(shapes, u32, 28, 512);
COUNTER_MAP(calls, u32, 512);

RAW_TP(observe, sys_enter, void *regs, long number)
{
	u32 zero = 0, key = 7;
	struct order *order = bpf_map_lookup_elem(&wanted, &zero);

	if (!order || order->thread != (u32)bpf_get_current_pid_tgid() || order->syscall != number)
		return 0;
	observe_exp2(shapes, &key, order->value, 1000);
	count(calls, &key, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
