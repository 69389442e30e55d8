// SPDX-License-Identifier: GPL-2.0
// Ways to record one value into a histogram, on one event that is easily made often: getppid(2).
// Values are random ns, recorded in µs: they spread over 18 buckets, the larger the more often.
#include "hist.bpf.h"

#define SLOTS 28

struct row_key {
	u64 device_and_operation;
	u64 bucket;
};

// Ours: as biolatency records.
HIST_MAP(slots_per_cpu, u64, SLOTS, 1024);

// Ours where the map budget does not hold: one value for all CPUs, atomics.
HIST_MAP(slots_shared, u64, SLOTS, 1024);

// One hash row per bucket and one for the sum, shared by all CPUs, atomics: upstream's layout.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, (SLOTS + 1) * 1024);
	__type(key, struct row_key);
	__type(value, u64);
} rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} random SEC(".maps");

// 27 bits of Knuth's MMIX generator: a clock or the kernel's own would cost as much as recording.
static __always_inline u64 some_value(void)
{
	u32 zero = 0;
	u64 *state = bpf_map_lookup_elem(&random, &zero);

	if (!state)
		return 0;
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 37;
}

static __always_inline void add_to_row(struct row_key *key, u64 n)
{
	u64 zero = 0;
	u64 *value = bpf_map_lookup_elem(&rows, key);

	if (!value) {
		bpf_map_update_elem(&rows, key, &zero, BPF_NOEXIST);
		value = bpf_map_lookup_elem(&rows, key);
	}
	if (value)
		__sync_fetch_and_add(value, n);
}

RAW_TP(record_nothing, sys_enter)
{
	u64 value = some_value();

	return value >> 27;
}

RAW_TP(record_slots_per_cpu, sys_enter)
{
	u64 key = 1;

	observe_exp2(slots_per_cpu, &key, some_value(), 1000);
	return 0;
}

RAW_TP(record_slots_shared, sys_enter)
{
	u64 key = 1;

	observe_exp2(slots_shared, &key, some_value(), 1000);
	return 0;
}

RAW_TP(record_rows, sys_enter)
{
	struct row_key key = {.device_and_operation = 1};
	u64 value = some_value() / 1000;

	key.bucket = km_exp2_slot(value);
	if (key.bucket > SLOTS - 1)
		key.bucket = SLOTS - 1;
	add_to_row(&key, 1);
	key.bucket = SLOTS;
	add_to_row(&key, value);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
