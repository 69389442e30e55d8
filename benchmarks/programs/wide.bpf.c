// SPDX-License-Identifier: GPL-2.0
// A large map to be read: 100,000 keys of two labels. The benchmark fills it from user space, the
// hook (an event that does not happen here) only makes the map part of a program.
#include "maps.bpf.h"

struct wide_key {
	u64 object;
	u32 operation;
	u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, struct wide_key);
	__type(value, u64);
} wide_ops_total SEC(".maps");

RAW_TP(fill, mark_victim)
{
	struct wide_key key = {};
	u64 one = 1;

	bpf_map_update_elem(&wide_ops_total, &key, &one, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
