// SPDX-License-Identifier: GPL-2.0
// How long established TCP connections waited in the listener's queue until they were accepted, by
// the listener's port.
//
// The last resort, the end of accept system calls, sees none that io_uring made.
#include "hist.bpf.h"

#define TCP_ESTABLISHED 1 // include/net/tcp_states.h
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7

// include/uapi/asm-generic/unistd.h, and x86's own; a BPF target knows neither
#if defined(__TARGET_ARCH_x86)
#define ACCEPT 43
#define ACCEPT4 288
#else
#define ACCEPT 202
#define ACCEPT4 242
#endif

HIST_MAP(accept_latency_seconds, u16, 27, 1024);
RECENT_MAP(accept_queued, u64, u64, 65536);        // socket → ns
SCRATCH_MAP(accept_calls, u32, struct socket *, 8192); // thread → what it accepts into

static __always_inline int changed(struct sock *sk, int before, int now)
{
	u64 id = (u64)sk;
	u64 at;

	if (now == TCP_ESTABLISHED && before == TCP_SYN_RECV) {
		at = bpf_ktime_get_ns();
		put(accept_queued, &id, &at);
	} else if (now == TCP_CLOSE) {
		drop(accept_queued, &id); // was never accepted
	}
	return 0;
}

static __always_inline int accepted(struct sock *sk)
{
	u64 id = (u64)sk;
	u64 *since;
	u16 port;
	u64 took;

	if (!sk)
		return 0;
	since = get(accept_queued, &id);
	if (!since)
		return 0;
	took = bpf_ktime_get_ns() - *since;
	port = BPF_CORE_READ(sk, __sk_common.skc_num);
	observe_exp2(accept_latency_seconds, &port, took, 1000);
	drop(accept_queued, &id);
	return 0;
}

// A call that returned a new file descriptor, which is the calling thread's.
static __always_inline int returned(long ret)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table;
	struct file **files;
	struct file *file = 0;
	struct socket *socket;

	if (ret < 0)
		return 0;
	table = BPF_CORE_READ(task, files, fdt);
	if (ret >= BPF_CORE_READ(table, max_fds))
		return 0;
	files = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), files + ret);
	socket = BPF_CORE_READ(file, private_data);
	return accepted(BPF_CORE_READ(socket, sk));
}

TP_BTF(state_btf, inet_sock_set_state, struct sock *sk, int before, int now)
{
	return changed(sk, before, now);
}

RAW_TP(state_raw, inet_sock_set_state, struct sock *sk, int before, int now)
{
	return changed(sk, before, now);
}

FEXIT(accept_fexit, inet_accept, void *listener, struct socket *socket)
{
	return accepted(BPF_CORE_READ(socket, sk));
}

KPROBE(accept_kprobe, inet_accept, void *listener, struct socket *socket)
{
	u32 thread = (u32)bpf_get_current_pid_tgid();

	put(accept_calls, &thread, &socket);
	return 0;
}

KRETPROBE(accept_kretprobe, inet_accept)
{
	u32 thread = (u32)bpf_get_current_pid_tgid();
	struct socket **call = get(accept_calls, &thread);
	struct socket *socket;

	if (!call)
		return 0;
	socket = *call;
	drop(accept_calls, &thread);
	return accepted(BPF_CORE_READ(socket, sk));
}

TRACEPOINT(accept_exit, syscalls, sys_exit_accept, sys_exit)
{
	return returned(BPF_CORE_READ(ctx, ret));
}

TRACEPOINT(accept4_exit, syscalls, sys_exit_accept4, sys_exit)
{
	return returned(BPF_CORE_READ(ctx, ret));
}

// arch/x86/include/asm/ptrace.h, arch/arm64/include/asm/ptrace.h
#if defined(__TARGET_ARCH_x86)
struct pt_regs___call {
	unsigned long orig_ax;
} __attribute__((preserve_access_index));
#define CALL_NUMBER orig_ax
#else
struct pt_regs___call {
	s32 syscallno;
} __attribute__((preserve_access_index));
#define CALL_NUMBER syscallno
#endif

static __always_inline int exited(long number, long ret)
{
	return number == ACCEPT4 || number == ACCEPT ? returned(ret) : 0;
}

TP_BTF(any_exit_btf, sys_exit, struct pt_regs___call *regs, long ret)
{
	return exited(regs->CALL_NUMBER, ret);
}

RAW_TP(any_exit_raw, sys_exit, struct pt_regs___call *regs, long ret)
{
	return exited(BPF_CORE_READ(regs, CALL_NUMBER), ret);
}

char LICENSE[] SEC("license") = "GPL";
