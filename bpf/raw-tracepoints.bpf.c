// SPDX-License-Identifier: GPL-2.0
// The same as timers, by a raw tracepoint alone: no BTF-typed arguments, no tracefs, any kernel
// from 4.17 on.
#include "maps.bpf.h"

COUNTER_MAP(raw_timer_starts_total, u64, 1024);

RAW_TP(timer_start_raw, timer_start, struct timer_list *timer)
{
	u64 function = (u64)BPF_CORE_READ(timer, function);

	count(raw_timer_starts_total, &function, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
