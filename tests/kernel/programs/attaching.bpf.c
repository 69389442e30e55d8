// SPDX-License-Identifier: GPL-2.0
// Sections that the agent attaches itself, some of which cannot be.
#include "maps.bpf.h"

#include <linux/bpf_perf_event.h>

COUNTER_MAP(by_process, u32, 4096);

static __always_inline int counted(u64 n)
{
	u32 process = bpf_get_current_pid_tgid() >> 32;

	count(by_process, &process, n);
	return 0;
}

SEC("uprobe/libc.so.6:no_such_function")
int missing_function(void *ctx)
{
	return counted(1);
}

SEC("uprobe/libc.so.6:not a symbol")
int malformed_function(void *ctx)
{
	return counted(1);
}

SEC("uretprobe/libc.so.6:malloc")
int malloc_returns(void *ctx)
{
	return counted(1);
}

SEC("usdt/*python3.*:python:no__such__probe")
int missing_probe(void *ctx)
{
	return counted(1);
}

SEC("usdt/libc.so.6:import")
int malformed_probe(void *ctx)
{
	return counted(1);
}

// PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS: each one
SEC("perf_event/type=1,config=2,sample_period=1")
int page_faults(struct bpf_perf_event_data *ctx)
{
	return counted(ctx->sample_period);
}

SEC("perf_event/type=1,config=99,frequency=1")
int no_such_event(struct bpf_perf_event_data *ctx)
{
	return counted(1);
}

SEC("perf_event/type=1,config=2")
int no_rate(struct bpf_perf_event_data *ctx)
{
	return counted(1);
}

SEC("perf_event/type=1,config=two,frequency=1")
int no_number(struct bpf_perf_event_data *ctx)
{
	return counted(1);
}

char LICENSE[] SEC("license") = "GPL";
