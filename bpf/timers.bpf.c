// SPDX-License-Identifier: GPL-2.0
// Timers of the timer wheel that were started, by the kernel function that they will call.
#include "maps.bpf.h"

COUNTER_MAP(timer_starts_total, u64, 1024);

TP_BTF(timer_start_btf, timer_start, struct timer_list *timer)
{
	u64 function = (u64)timer->function;

	count(timer_starts_total, &function, 1);
	return 0;
}

TRACEPOINT(timer_start_tracepoint, timer, timer_start, timer_start)
{
	u64 function = (u64)BPF_CORE_READ(ctx, function);

	count(timer_starts_total, &function, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
