// SPDX-License-Identifier: GPL-2.0
// Software interrupts: how many were raised and serviced, how long they waited and how long they
// took, by kind.
//
// Raising one that is pending already changes nothing, so the wait runs from the first raise.
#include "hist.bpf.h"

#define KINDS 16 // the kernel has 10 (include/linux/interrupt.h)
#define SLOTS 22

struct softirq_state {
	u64 raised_at[KINDS]; // ns, 0: not pending
	u64 entered_at;       // they do not nest on a CPU
};

COUNTER_MAP(softirq_raised_total, u32, KINDS);
COUNTER_MAP(softirq_serviced_total, u32, KINDS);
HIST_MAP(softirq_entry_latency_seconds, u32, SLOTS, KINDS);
HIST_MAP(softirq_service_latency_seconds, u32, SLOTS, KINDS);
KM_MAP(softirq_states, BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct softirq_state, 1);

static __always_inline struct softirq_state *this_cpu(void)
{
	u32 only = 0;

	return get(softirq_states, &only);
}

static __always_inline int raised(u32 kind)
{
	struct softirq_state *cpu = this_cpu();
	u64 index = kind;

	count(softirq_raised_total, &kind, 1);
	asm volatile("" : "+r"(index)); // 6.1's verifier loses the bound of a 32-bit index
	if (cpu && index < KINDS && !cpu->raised_at[index])
		cpu->raised_at[index] = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int entered(u32 kind)
{
	struct softirq_state *cpu = this_cpu();
	u64 now = bpf_ktime_get_ns();
	u64 index = kind;
	u64 since;

	asm volatile("" : "+r"(index));
	if (!cpu || index >= KINDS)
		return 0;
	since = cpu->raised_at[index];
	cpu->raised_at[index] = 0;
	cpu->entered_at = now;
	if (since)
		observe_exp2(softirq_entry_latency_seconds, &kind, now - since, 1000);
	return 0;
}

static __always_inline int left(u32 kind)
{
	struct softirq_state *cpu = this_cpu();

	count(softirq_serviced_total, &kind, 1);
	if (!cpu || !cpu->entered_at)
		return 0;
	observe_exp2(softirq_service_latency_seconds, &kind,
		     bpf_ktime_get_ns() - cpu->entered_at, 1000);
	cpu->entered_at = 0;
	return 0;
}

TP_BTF(raise_btf, softirq_raise, u32 kind)
{
	return raised(kind);
}

TP_BTF(entry_btf, softirq_entry, u32 kind)
{
	return entered(kind);
}

TP_BTF(exit_btf, softirq_exit, u32 kind)
{
	return left(kind);
}

RAW_TP(raise_raw, softirq_raise, u32 kind)
{
	return raised(kind);
}

RAW_TP(entry_raw, softirq_entry, u32 kind)
{
	return entered(kind);
}

RAW_TP(exit_raw, softirq_exit, u32 kind)
{
	return left(kind);
}

TRACEPOINT(raise_tracepoint, irq, softirq_raise, softirq)
{
	return raised(BPF_CORE_READ(ctx, vec));
}

TRACEPOINT(entry_tracepoint, irq, softirq_entry, softirq)
{
	return entered(BPF_CORE_READ(ctx, vec));
}

TRACEPOINT(exit_tracepoint, irq, softirq_exit, softirq)
{
	return left(BPF_CORE_READ(ctx, vec));
}

char LICENSE[] SEC("license") = "GPL";
