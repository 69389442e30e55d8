// SPDX-License-Identifier: GPL-2.0
// The kernel types that our programs read, and no others: only the fields used, found at load by
// CO-RE (preserve_access_index), so one object serves every kernel that has BTF.
// A type's ___suffix is ignored by CO-RE: it tells two layouts of one kernel type apart here.
#pragma once

#include <stdbool.h>

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __s32 s32;
typedef __u32 u32;
typedef __s64 s64;
typedef __u64 u64;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

// include/linux/timer.h
struct timer_list {
	void (*function)(struct timer_list *timer);
};

// include/trace/events/timer.h, as the tracepoint lays it out
struct trace_event_raw_timer_start {
	void *function;
};

// include/trace/events/irq.h
struct trace_event_raw_softirq {
	u32 vec;
};

// include/trace/events/syscalls.h
struct trace_event_raw_sys_enter {
	long id;
};

struct trace_event_raw_sys_exit {
	long ret;
};

// include/linux/blkdev.h, include/linux/blk-mq.h
struct gendisk {
	int major;
	int first_minor;
};

// up to 5.14 a queue did not know its disk
struct request_queue {
	struct gendisk *disk;
};

struct request {
	struct request_queue *q;
	u32 cmd_flags;
	u32 __data_len;
	u64 start_time_ns;
};

// up to 5.16
struct request___with_disk {
	struct gendisk *rq_disk;
};

// include/linux/kernfs.h; from 5.5 id is a u64
struct kernfs_node {
	u64 id;
};

// up to 5.4
union kernfs_node_id {
	u64 id;
};

struct kernfs_node___before_5_5 {
	union kernfs_node_id id;
};

// include/linux/cgroup-defs.h
struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp; // in the unified hierarchy
};

// arch/<arch>/include/asm/thread_info.h; x86 says in status what others say in flags
struct thread_info {
	unsigned long flags;
	u32 status;
};

// include/linux/sched.h
struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	u32 __state;
	struct css_set *cgroups;
};

// up to 5.13
struct task_struct___before_5_14 {
	long state;
};

#pragma clang attribute pop

// include/linux/cgroup_subsys.h; the number depends on the kernel's configuration
enum cgroup_subsys_id {
	cpu_cgrp_id = 1,
	memory_cgrp_id = 4,
};
