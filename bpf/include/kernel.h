// SPDX-License-Identifier: GPL-2.0
// The kernel types that our programs read, and no others: only the fields used, found at load by
// CO-RE (preserve_access_index), so one object serves every kernel that has BTF.
// A type's ___suffix is ignored by CO-RE: it tells two layouts of one kernel type apart here.
#pragma once

#ifdef KM_BCC
#include "bcc.h"
#else

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/ptrace.h> // struct pt_regs

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
#endif

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

// kernel/sched/sched.h
struct task_group {
	struct cgroup_subsys_state css;
};

// CFS's run queue of one task group on one CPU; times are in the CPU's own clock
struct cfs_rq {
	struct task_group *tg;
	int throttle_count;
	u64 throttled_clock_self;
	u64 throttled_clock_self_time; // from 6.6 on
};

// include/linux/fs.h, include/linux/fdtable.h
struct file {
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

// include/linux/sched.h
struct sched_entity {
	struct cfs_rq *cfs_rq;
};

struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	u32 __state;
	struct sched_entity se;
	struct css_set *cgroups;
	struct files_struct *files;
};

// up to 5.13
struct task_struct___before_5_14 {
	long state;
};

// include/linux/shrinker.h
struct shrink_control {
	int nid;
};

// include/net/sock.h
struct in6_addr {
	union {
		u32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u16 skc_dport; // as on the wire
	u16 skc_num;
	u16 skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	u32 sk_ack_backlog;
	u16 sk_protocol;
};

// include/linux/net.h
struct socket {
	struct sock *sk;
};

// include/net/inet_connection_sock.h
struct inet_connection_sock {
	u8 icsk_ca_state : 5;
	u8 icsk_pending;
};

// include/linux/tcp.h
struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 rcv_ssthresh;
};

// include/linux/skbuff.h
struct sk_buff {
	u16 protocol;
	char cb[48];
};

// include/net/tcp.h, in sk_buff.cb
struct tcp_skb_cb {
	u16 tcp_gso_segs;
};

// include/linux/bpf.h, filter.h
struct bpf_prog_aux {
	u32 id;
	u32 func_cnt; // 0 where the program is one function
	struct bpf_prog **func;
};

struct bpf_prog {
	u32 jited_len; // bytes, without what is around the code; 0 where it is interpreted
	unsigned int (*bpf_func)(const void *context, const struct bpf_insn *code);
	struct bpf_prog_aux *aux;
};

// in front of compiled code
struct bpf_binary_header {
	u32 size; // bytes
};

// up to 5.17
struct bpf_binary_header___before_5_18 {
	u32 pages;
};

// kernel/bpf/bpf_iter.c, prog_iter.c
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 seq_num; // from 0
};

struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
};

#ifndef KM_BCC
#pragma clang attribute pop
#endif

// include/linux/cgroup_subsys.h; the number depends on the kernel's configuration
enum cgroup_subsys_id {
	cpu_cgrp_id = 1,
	memory_cgrp_id = 4,
};

#ifdef KM_BCC
// For programs that have no use for them; others get this kernel's numbers as macros.
enum {
	km_has_cpu_cgrp_id = false,
	km_value_cpu_cgrp_id = 0,
	km_has_memory_cgrp_id = false,
	km_value_memory_cgrp_id = 0,
};
#endif
