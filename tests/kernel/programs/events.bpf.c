// SPDX-License-Identifier: GPL-2.0
// getpriority() calls as events, by a ring buffer and by a perf event array.
#include "events.bpf.h"

#if defined(__TARGET_ARCH_x86)
#define NR_GETPRIORITY 140
#else
#define NR_GETPRIORITY 141
#endif

struct call {
	u32 process;
	u16 size;
	u16 nothing;
};

EVENT_MAP(ring_calls_total, 4096);

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} perf_calls_total SEC(".maps");

RAW_TP(on_enter, sys_enter, struct pt_regs *regs, long id)
{
	struct call call = {};
	u64 size;

	if (id != NR_GETPRIORITY)
		return 0;
	if (bpf_probe_read_kernel(&size, sizeof(size), (const void *)&PT_REGS_PARM2(regs)))
		return 0;
	call.process = bpf_get_current_pid_tgid() >> 32;
	call.size = size;
	emit(ring_calls_total, &call);
	bpf_perf_event_output(ctx, &perf_calls_total, BPF_F_CURRENT_CPU, &call, sizeof(call));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
