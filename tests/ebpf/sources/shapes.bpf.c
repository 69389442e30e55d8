// SPDX-License-Identifier: GPL-2.0
// Maps, variables, functions and types of every shape that elf.py, btf.py and check.py read.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef __u64 u64;
typedef const volatile u64 odd_u64;

struct pair_key {
	__u32 device;
	__u8 operation;
	u64 bucket;
};

struct nested_key {
	struct {
		__u16 low, high;
	} port;
	__u8 address[16];
	char comm[12];
};

struct mixed_key {
	__u32 bit : 1;
	union {
		__u32 v4;
		__u8 v6[16];
	};
	int signed_one;
};

struct slots {
	u64 slots[4], overflow, sum;
};

enum small { SMALL_NONE = -1, SMALL_SOME = 5 };

struct bits {
	unsigned int first : 3;
	unsigned int second : 5;
	odd_u64 odd[2];
	enum small small;
	struct bits *next;
};

#define MAP(name, kind, key_type, value_type, entries)                                            \
	struct {                                                                                  \
		__uint(type, kind);                                                               \
		__uint(max_entries, entries);                                                     \
		__type(key, key_type);                                                            \
		__type(value, value_type);                                                        \
	} name SEC(".maps")

MAP(events_total, BPF_MAP_TYPE_PERCPU_HASH, u64, u64, 1024);
MAP(pairs_total, BPF_MAP_TYPE_HASH, struct pair_key, u64, 512);
MAP(nested_total, BPF_MAP_TYPE_LRU_HASH, struct nested_key, u64, 512);
MAP(latency_seconds, BPF_MAP_TYPE_PERCPU_HASH, u64, struct slots, 64);
MAP(plain_total, BPF_MAP_TYPE_ARRAY, __u32, u64, 1);
MAP(chosen, BPF_MAP_TYPE_LRU_HASH, u64, u64, 16);
MAP(mixed_total, BPF_MAP_TYPE_HASH, struct mixed_key, u64, 16);
MAP(wide_values, BPF_MAP_TYPE_HASH, u64, struct pair_key, 16);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__uint(key_size, 12);
	__uint(value_size, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} sized_total SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} spans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} sent_total SEC(".maps");

const volatile u64 kaddr_vfs_read = 0;
u64 counted = 0;
u64 begins_at = 7;
struct bits *last_bits;

static __attribute__((noinline)) int add(u64 key)
{
	u64 *value = bpf_map_lookup_elem(&events_total, &key);

	if (value)
		*value += kaddr_vfs_read;
	return last_bits ? SMALL_SOME : 0;
}

SEC("tracepoint/syscalls/sys_enter_getpid")
int on_getpid(void *ctx)
{
	counted += begins_at;
	return add(1);
}

SEC("raw_tp/sched_switch")
int on_switch(struct bpf_raw_tracepoint_args *ctx)
{
	return add(ctx->args[0]);
}

SEC("xdp")
int on_packet(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
