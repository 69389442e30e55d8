// SPDX-License-Identifier: GPL-2.0
// Keys and values that are structs, as YAML names their members: getpriority() calls, whose
// argument is the size that is counted.
#include "maps.bpf.h"

#if defined(__TARGET_ARCH_x86)
#define NR_GETPRIORITY 140
#else
#define NR_GETPRIORITY 141
#endif

enum call_kind { CALL_NONE, CALL_PRIORITY = 7 };
enum tcp_ca_state { TCP_CA_Open = 4 }; // as a program has it that was written for another kernel

enum call_kind kind_of_call = CALL_PRIORITY;
enum tcp_ca_state state_of_call = TCP_CA_Open;

struct call_key {
	u8 kind;
	u32 process;
	struct {
		char comm[16];
	} task;
};

struct sizes {
	u64 slots[4];
	u64 overflow;
	u64 sum;
};

struct call_value {
	u64 calls;
	u32 odd;
	s32 last;
	struct sizes sizes;
};

static const struct call_value zero;

KM_MAP(calls, BPF_MAP_TYPE_PERCPU_HASH, struct call_key, struct call_value, 4096);

KM_MAP(calls_total, BPF_MAP_TYPE_HASH, struct call_key, u64, 4096);

RAW_TP(on_enter, sys_enter, struct pt_regs *regs, long id)
{
	struct call_key key = {};
	struct call_value *value;
	u64 size;

	if (id != NR_GETPRIORITY)
		return 0;
	// registers lie as user space has them, so nothing is to be relocated
	if (bpf_probe_read_kernel(&size, sizeof(size), (const void *)&PT_REGS_PARM2(regs)))
		return 0;
	size = (u32)size;
	key.kind = 7;
	key.process = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(&key.task.comm, sizeof(key.task.comm));
	value = km_value(&calls, &key, &zero, &refused_calls);
	if (!value)
		return 0;
	value->calls++;
	value->odd += size & 1;
	value->last = -(s32)size;
	value->sizes.slots[size < 4 ? size : 3]++;
	value->sizes.sum += size;
	km_count(&calls_total, &key, 1, true, &refused_calls_total);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
