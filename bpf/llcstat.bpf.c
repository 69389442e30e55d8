// SPDX-License-Identifier: GPL-2.0
// References to the last-level cache and misses, by CPU, from the hardware's counters.
//
// The counter interrupts some ten times a second on each CPU and says how many events that stands
// for, so numbers are right in the long run and late by a tenth of a second.
#include "maps.bpf.h"

#include <linux/bpf_perf_event.h>

// A row for each CPU that counts: it alone adds to it, so rows need be neither per CPU nor atomic.
#define CPU_COUNTER_MAP(map)                                                                      \
	KM_MAP(map, BPF_MAP_TYPE_HASH, u32, u64, 1024);                                           \
	const volatile bool shared_##map = false

CPU_COUNTER_MAP(llc_references_total);
CPU_COUNTER_MAP(llc_misses_total);

// include/uapi/linux/perf_event.h: PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES
SEC("perf_event/type=0,config=2,frequency=10")
int references(struct bpf_perf_event_data *ctx)
{
	u32 cpu = bpf_get_smp_processor_id();

	count(llc_references_total, &cpu, ctx->sample_period);
	return 0;
}

// PERF_COUNT_HW_CACHE_MISSES
SEC("perf_event/type=0,config=3,frequency=10")
int misses(struct bpf_perf_event_data *ctx)
{
	u32 cpu = bpf_get_smp_processor_id();

	count(llc_misses_total, &cpu, ctx->sample_period);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
