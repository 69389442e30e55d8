// SPDX-License-Identifier: GPL-2.0
// How long block requests took, by disk and operation.
//
// A request's time runs from when it was inserted into the I/O scheduler, or where it was not,
// from when it was issued to the driver, until all of it is complete.
#include "hist.bpf.h"

// include/linux/blk_types.h. Operations' numbers move between kernels: 7 was WRITE_SAME and is
// ZONE_APPEND. So the key has our own, found by the kernel's names; these are also the YAML's.
enum operation {
	READ,
	WRITE,
	FLUSH,
	DISCARD,
	SECURE_ERASE,
	WRITE_ZEROES,
	WRITE_SAME,
	ZONE_APPEND,
	ZONE_OPEN,
	ZONE_CLOSE,
	ZONE_FINISH,
	ZONE_RESET,
	ZONE_RESET_ALL,
	DRV_IN,
	DRV_OUT,
	OTHER,
};

// The enum is req_opf up to 5.19, req_op since; the values given here only make it a definition.
enum req_opf {
	REQ_OP_WRITE_SAME,
};

enum req_opf___older {
	REQ_OP_ZONE_APPEND___older,
	REQ_OP_ZONE_OPEN___older,
	REQ_OP_ZONE_CLOSE___older,
	REQ_OP_ZONE_FINISH___older,
	REQ_OP_ZONE_RESET___older,
	REQ_OP_ZONE_RESET_ALL___older,
	REQ_OP_DRV_IN___older,
	REQ_OP_DRV_OUT___older,
};

enum req_op {
	REQ_OP_ZONE_APPEND,
	REQ_OP_ZONE_OPEN,
	REQ_OP_ZONE_CLOSE,
	REQ_OP_ZONE_FINISH,
	REQ_OP_ZONE_RESET,
	REQ_OP_ZONE_RESET_ALL,
	REQ_OP_DRV_IN,
	REQ_OP_DRV_OUT,
};

#define REQ_OP_MASK 0xff

struct bio_key {
	u32 device; // the whole disk's number as user space has it, which `majorminor` decodes
	u32 operation;
};

HIST_MAP(bio_latency_seconds, struct bio_key, 28, 1024);
SCRATCH_MAP(bio_starts, u64, u64, 10240); // request → ns

#define IS(op, type, name)                                                                        \
	(bpf_core_enum_value_exists(enum type, name) &&                                           \
	 op == bpf_core_enum_value(enum type, name))
#define IS_EITHER(op, name) (IS(op, req_op, name) || IS(op, req_opf___older, name##___older))

static __always_inline u32 operation_of(u32 cmd_flags)
{
	u64 op = cmd_flags & REQ_OP_MASK;

	// never moved since 4.10
	switch (op) {
	case 0:
		return READ;
	case 1:
		return WRITE;
	case 2:
		return FLUSH;
	case 3:
		return DISCARD;
	case 5:
		return SECURE_ERASE;
	case 9:
		return WRITE_ZEROES;
	}
	if (IS(op, req_opf, REQ_OP_WRITE_SAME))
		return WRITE_SAME;
	if (IS_EITHER(op, REQ_OP_ZONE_APPEND))
		return ZONE_APPEND;
	if (IS_EITHER(op, REQ_OP_ZONE_OPEN))
		return ZONE_OPEN;
	if (IS_EITHER(op, REQ_OP_ZONE_CLOSE))
		return ZONE_CLOSE;
	if (IS_EITHER(op, REQ_OP_ZONE_FINISH))
		return ZONE_FINISH;
	if (IS_EITHER(op, REQ_OP_ZONE_RESET))
		return ZONE_RESET;
	if (IS_EITHER(op, REQ_OP_ZONE_RESET_ALL))
		return ZONE_RESET_ALL;
	if (IS_EITHER(op, REQ_OP_DRV_IN))
		return DRV_IN;
	if (IS_EITHER(op, REQ_OP_DRV_OUT))
		return DRV_OUT;
	return OTHER;
}

static __always_inline u32 device_of(struct request *rq)
{
	struct request___with_disk *older = (void *)rq;
	struct gendisk *disk;
	u32 minor;

	if (bpf_core_field_exists(older->rq_disk))
		disk = BPF_CORE_READ(older, rq_disk);
	else
		disk = BPF_CORE_READ(rq, q, disk);
	// include/linux/kdev_t.h, new_encode_dev()
	minor = BPF_CORE_READ(disk, first_minor);
	return (minor & 0xff) | (u32)BPF_CORE_READ(disk, major) << 8 | (minor & ~0xff) << 12;
}

static __always_inline int inserted(struct request *rq)
{
	u64 id = (u64)rq;
	u64 now = bpf_ktime_get_ns();

	put(bio_starts, &id, &now);
	return 0;
}

static __always_inline int issued(struct request *rq)
{
	u64 id = (u64)rq;
	u64 made = BPF_CORE_READ(rq, start_time_ns);
	u64 *started = get(bio_starts, &id);
	u64 now;

	// Requests are used again and again, and one that was inserted and then merged into another
	// leaves its time behind: a time before the request was made is such a one.
	if (started && made && *started >= made)
		return 0;
	now = bpf_ktime_get_ns();
	put(bio_starts, &id, &now);
	return 0;
}

static __always_inline int completed(struct request *rq, u32 bytes)
{
	u64 id = (u64)rq;
	struct bio_key key;
	u64 *started;
	u64 now;

	// A request may complete in parts: the last one counts.
	if (bytes < BPF_CORE_READ(rq, __data_len))
		return 0;
	started = get(bio_starts, &id);
	if (!started)
		return 0;
	now = bpf_ktime_get_ns();
	key.device = device_of(rq);
	key.operation = operation_of(BPF_CORE_READ(rq, cmd_flags));
	observe_exp2(bio_latency_seconds, &key, now > *started ? now - *started : 0, 1000);
	drop(bio_starts, &id);
	return 0;
}

// Up to 5.10 these tracepoints pass the queue first. Newer kernels refuse to have a second argument
// read, while older ones would take a first one that is not a request: so these are tried first.
TP_BTF(insert_of_queue_btf, block_rq_insert, void *queue, struct request *rq)
{
	return inserted(rq);
}

TP_BTF(issue_of_queue_btf, block_rq_issue, void *queue, struct request *rq)
{
	return issued(rq);
}

TP_BTF(insert_btf, block_rq_insert, struct request *rq)
{
	return inserted(rq);
}

TP_BTF(issue_btf, block_rq_issue, struct request *rq)
{
	return issued(rq);
}

TP_BTF(complete_btf, block_rq_complete, struct request *rq, int error, u32 bytes)
{
	return completed(rq, bytes);
}

RAW_TP(insert_of_queue_raw, block_rq_insert, void *queue, struct request *rq)
{
	return inserted(rq);
}

RAW_TP(issue_of_queue_raw, block_rq_issue, void *queue, struct request *rq)
{
	return issued(rq);
}

RAW_TP(insert_raw, block_rq_insert, struct request *rq)
{
	return inserted(rq);
}

RAW_TP(issue_raw, block_rq_issue, struct request *rq)
{
	return issued(rq);
}

RAW_TP(complete_raw, block_rq_complete, struct request *rq, int error, u32 bytes)
{
	return completed(rq, bytes);
}

char LICENSE[] SEC("license") = "GPL";
