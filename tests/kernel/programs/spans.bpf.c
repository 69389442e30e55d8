// SPDX-License-Identifier: GPL-2.0
// Each getpriority() call as a span of its own trace, a child of span 0x1122334455667788.
#include "events.bpf.h"

#if defined(__TARGET_ARCH_x86)
#define NR_GETPRIORITY 140
#else
#define NR_GETPRIORITY 141
#endif

struct call_span {
	u8 trace_id[16];
	u8 span_id[8];
	u8 parent_span_id[8];
	u64 began_ns;
	u64 duration_ns;
	u32 process;
	u32 size;
};

EVENT_MAP(calls, 65536);

RAW_TP(on_enter, sys_enter, struct pt_regs *regs, long id)
{
	struct call_span span = { .parent_span_id = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 } };
	u64 size;

	if (id != NR_GETPRIORITY)
		return 0;
	if (bpf_probe_read_kernel(&size, sizeof(size), (const void *)&PT_REGS_PARM2(regs)))
		return 0;
	span.process = bpf_get_current_pid_tgid() >> 32;
	span.size = size;
	span.trace_id[0] = 0xab;
	span.trace_id[15] = size;
	span.began_ns = bpf_ktime_get_ns();
	span.duration_ns = 1000000;
	emit(calls, &span);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
