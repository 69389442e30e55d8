// SPDX-License-Identifier: GPL-2.0
// Verbs for maps and hooks, neutral to who loads the program: a program says what it counts and
// where it hooks, never which helper or map type does it.
//
// Each map has two companions that the agent knows by name:
//   shared_<map>   (rodata) set at load where per-CPU values would not fit the map budget; the
//                  map is then shared between CPUs and additions are atomic
//   refused_<map>  (bss) updates that the kernel refused because the map was full
// and a map that is made anew for each read has a third:
//   snapshot_<map> (rodata)
#pragma once

#include "kernel.h"

#define KM_EEXIST 17

// bcc.h has its own of these.
#ifndef KM_BCC
#define KM_MAP(map, kind, key_type, value_type, entries)                                          \
	struct {                                                                                  \
		__uint(type, kind);                                                               \
		__uint(max_entries, entries);                                                     \
		__type(key, key_type);                                                            \
		__type(value, value_type);                                                        \
	} map SEC(".maps");                                                                       \
	u64 refused_##map
#define KM_AT(map) ((void *)&map)
#define KM_SHARED(map) const volatile bool shared_##map = false
#define KM_SNAPSHOT(map) const volatile bool snapshot_##map = true
#define KM_REFUSED(map) (&refused_##map)

static __always_inline void km_refuse(u64 *refused)
{
	__sync_fetch_and_add(refused, 1);
}
#endif

// One u64 for each key; count() adds to it.
#define COUNTER_MAP(map, key_type, entries)                                                       \
	KM_MAP(map, BPF_MAP_TYPE_PERCPU_HASH, key_type, u64, entries);                            \
	KM_SHARED(map)

// The same for keys that come and go: when full, the longest unused gives way.
#define RECENT_COUNTER_MAP(map, key_type, entries)                                                \
	KM_MAP(map, BPF_MAP_TYPE_LRU_PERCPU_HASH, key_type, u64, entries);                        \
	KM_SHARED(map)

// What there is now: emptied before each read, then filled by count() in the program's iterators,
// which the agent runs (ITER). One runs at a time, so nothing is per CPU.
#define SNAPSHOT_MAP(map, key_type, entries)                                                      \
	KM_MAP(map, BPF_MAP_TYPE_HASH, key_type, u64, entries);                                   \
	KM_SHARED(map);                                                                           \
	KM_SNAPSHOT(map)

// One u64 for each u32 below `entries`, all there from the start, as 0.
#define COUNTER_ARRAY(map, entries)                                                               \
	KM_MAP(map, BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64, entries);                                \
	KM_SHARED(map)

// What one hook leaves for another; whoever puts drops. When full, further puts are refused.
#define SCRATCH_MAP(map, key_type, value_type, entries)                                           \
	KM_MAP(map, BPF_MAP_TYPE_HASH, key_type, value_type, entries)

// The same for what nobody drops: when full, the longest unused gives way.
#define RECENT_MAP(map, key_type, value_type, entries)                                            \
	KM_MAP(map, BPF_MAP_TYPE_LRU_HASH, key_type, value_type, entries)

static __always_inline void km_add(u64 *value, u64 n, bool shared)
{
	if (shared)
		__sync_fetch_and_add(value, n);
	else
		*value += n;
}

// The value of key, made from `zero` if it is new; NULL, counted, where the map is full.
static __always_inline void *km_value(void *map, const void *key, const void *zero, u64 *refused)
{
	void *value = bpf_map_lookup_elem(map, key);
	long err;

	if (value || !zero)
		return value;
	err = bpf_map_update_elem(map, key, zero, BPF_NOEXIST);
	if (!err || err == -KM_EEXIST)
		value = bpf_map_lookup_elem(map, key);
	if (!value)
		km_refuse(refused);
	return value;
}

static __always_inline void km_count(void *map, const void *key, u64 n, bool shared, u64 *refused)
{
	const u64 zero = 0;
	u64 *value = km_value(map, key, &zero, refused);

	if (value)
		km_add(value, n, shared);
}

static __always_inline void km_put(void *map, const void *key, const void *value, u64 *refused)
{
	if (bpf_map_update_elem(map, key, value, BPF_ANY))
		km_refuse(refused);
}

// key and value are pointers in all of these; get() gives NULL where there is no such key.
#define count(map, key, n) km_count(KM_AT(map), key, n, shared_##map, KM_REFUSED(map))
#define get(map, key) bpf_map_lookup_elem(KM_AT(map), key)
#define put(map, key, value) km_put(KM_AT(map), key, value, KM_REFUSED(map))
#define drop(map, key) bpf_map_delete_elem(KM_AT(map), key)

// Hooks: the BPF function's name, the event, then what the event passes.
#ifndef KM_BCC
#define TP_BTF(function, event, args...) SEC("tp_btf/" #event) int BPF_PROG(function, ##args)
// Called for each object of a kind that there is, and once more, with NULL, after the last one.
#define ITER(function, kind) SEC("iter/" #kind) int function(struct bpf_iter__##kind *ctx)
#define FENTRY(function, target, args...) SEC("fentry/" #target) int BPF_PROG(function, ##args)
#define FEXIT(function, target, args...) SEC("fexit/" #target) int BPF_PROG(function, ##args)
#define RAW_TP(function, event, args...) SEC("raw_tp/" #event) int BPF_PROG(function, ##args)
// Functions inside the kernel, which other kernels may lack: after everything stable, unless that
// is far dearer or tells less. A KRETPROBE sees no arguments.
#define KPROBE(function, target, args...) SEC("kprobe/" #target) int BPF_KPROBE(function, ##args)
#endif
// `layout` is the event's class, whose struct trace_event_raw_<layout> is at ctx.
#define TRACEPOINT(function, group, event, layout)                                                \
	SEC("tracepoint/" #group "/" #event)                                                      \
	int function(struct trace_event_raw_##layout *ctx)
#define KRETPROBE(function, target) SEC("kretprobe/" #target) int function(struct pt_regs *ctx)
