// SPDX-License-Identifier: GPL-2.0
// System calls by name, and those that failed by error number.
//
// A compatibility call (a 32-bit program's on a 64-bit kernel) has numbers of another table: it is
// counted with COMPAT added, so that it never goes by a wrong name.
#include "maps.bpf.h"

#define MAX_ERRNO 4095 // include/linux/err.h
#define COMPAT 0x10000

COUNTER_MAP(syscalls_total, u32, 1024);
COUNTER_MAP(syscall_errors_total, u32, 256); // errno

// arch/x86/include/asm/thread_info.h: set from entry to exit
#define TS_COMPAT 0x0002
// arch/arm64/include/asm/thread_info.h
#define TIF_32BIT 22

static __always_inline bool is_compat(struct task_struct *task, bool known)
{
#if defined(__TARGET_ARCH_x86)
	if (bpf_core_field_exists(task->thread_info.status)) {
		u32 status = known ? task->thread_info.status :
				     BPF_CORE_READ(task, thread_info.status);

		return status & TS_COMPAT;
	}
#elif defined(__TARGET_ARCH_arm64)
	if (bpf_core_field_exists(task->thread_info.flags)) {
		u64 flags = known ? task->thread_info.flags :
				    BPF_CORE_READ(task, thread_info.flags);

		return flags >> TIF_32BIT & 1;
	}
#endif
	return false;
}

static __always_inline int entered(u64 number, bool compat)
{
	u32 key = number;

	if (compat)
		key += COMPAT;
	count(syscalls_total, &key, 1);
	return 0;
}

static __always_inline int left(s64 result)
{
	u32 error = -result;

	if (result < 0 && result >= -MAX_ERRNO)
		count(syscall_errors_total, &error, 1);
	return 0;
}

TP_BTF(enter_btf, sys_enter, struct pt_regs *regs, long number)
{
	return entered(number, is_compat(bpf_get_current_task_btf(), true));
}

TP_BTF(exit_btf, sys_exit, struct pt_regs *regs, long result)
{
	return left(result);
}

RAW_TP(enter_raw, sys_enter, struct pt_regs *regs, long number)
{
	return entered(number, is_compat((void *)bpf_get_current_task(), false));
}

RAW_TP(exit_raw, sys_exit, struct pt_regs *regs, long result)
{
	return left(result);
}

TRACEPOINT(enter_tracepoint, raw_syscalls, sys_enter, sys_enter)
{
	return entered(BPF_CORE_READ(ctx, id), false);
}

TRACEPOINT(exit_tracepoint, raw_syscalls, sys_exit, sys_exit)
{
	return left(BPF_CORE_READ(ctx, ret));
}

char LICENSE[] SEC("license") = "GPL";
