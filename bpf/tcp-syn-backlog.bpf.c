// SPDX-License-Identifier: GPL-2.0
// How many established connections waited to be accepted by a listener, each time one more came.
//
// Where the functions that make a connection cannot be hooked, the listener's wake-up tells of it:
// the new one is in the queue by then and is taken off the number, and a connection that a full
// queue turned away is not seen.
#include "hist.bpf.h"

#define TCP_LISTEN 10 // include/net/tcp_states.h
#define ETH_P_IP 0x0800
#define SLOTS 21
#define WIDTH 50

HIST_MAP(tcp_syn_backlog, u32, SLOTS, 1);

static __always_inline int observe(u64 backlog)
{
	u32 only = 0;

	observe_slot(tcp_syn_backlog, &only, (backlog + WIDTH - 1) / WIDTH, backlog);
	return 0;
}

static __always_inline int comes(struct sock *listener)
{
	return observe(BPF_CORE_READ(listener, sk_ack_backlog));
}

// An IPv6 listener's function calls IPv4's for an IPv4 connection.
static __always_inline int comes_ipv6(struct sock *listener, struct sk_buff *skb)
{
	return BPF_CORE_READ(skb, protocol) == __builtin_bswap16(ETH_P_IP) ? 0 : comes(listener);
}

static __always_inline int has_come(u64 backlog)
{
	return observe(backlog ? backlog - 1 : 0);
}

FENTRY(ipv4_fentry, tcp_v4_syn_recv_sock, struct sock *listener)
{
	return comes(listener);
}

FENTRY(ipv6_fentry, tcp_v6_syn_recv_sock, struct sock *listener, struct sk_buff *skb)
{
	return comes_ipv6(listener, skb);
}

KPROBE(ipv4_kprobe, tcp_v4_syn_recv_sock, struct sock *listener)
{
	return comes(listener);
}

KPROBE(ipv6_kprobe, tcp_v6_syn_recv_sock, struct sock *listener, struct sk_buff *skb)
{
	return comes_ipv6(listener, skb);
}

TP_BTF(ready_btf, sk_data_ready, struct sock *sk)
{
	if (sk->__sk_common.skc_state != TCP_LISTEN)
		return 0;
	return has_come(sk->sk_ack_backlog);
}

RAW_TP(ready_raw, sk_data_ready, struct sock *sk)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN)
		return 0;
	return has_come(BPF_CORE_READ(sk, sk_ack_backlog));
}

char LICENSE[] SEC("license") = "GPL";
