// SPDX-License-Identifier: GPL-2.0
// One map of each kind that is read, filled by tests from user space.
#include "maps.bpf.h"

#define KIND(name, kind, key_type, value_type, entries)                                           \
	struct {                                                                                  \
		__uint(type, kind);                                                               \
		__uint(max_entries, entries);                                                     \
		__type(key, key_type);                                                            \
		__type(value, value_type);                                                        \
	} name SEC(".maps")

KIND(plain_hash, BPF_MAP_TYPE_HASH, u64, u64, 20000);
KIND(small_values, BPF_MAP_TYPE_HASH, u32, u32, 2000);
KIND(lru, BPF_MAP_TYPE_LRU_HASH, u64, u64, 4000);
KIND(per_cpu_hash, BPF_MAP_TYPE_PERCPU_HASH, u64, u32, 2000);
KIND(plain_array, BPF_MAP_TYPE_ARRAY, u32, u32, 1000);
KIND(per_cpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64, 500);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

RAW_TP(nothing, timer_start)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
