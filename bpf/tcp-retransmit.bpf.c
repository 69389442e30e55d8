// SPDX-License-Identifier: GPL-2.0
// TCP segments sent again. Every one, as the kernel's TcpRetransSegs counts them; and, if asked
// for, packets by addresses, since there may be very many of those.
#include "maps.bpf.h"

#define AF_INET 2
#define AF_INET6 10
#define LOSS_PROBE_PENDING 5 // include/net/inet_connection_sock.h: ICSK_TIME_LOSS_PROBE
#define TCP_CA_RECOVERY 3    // include/uapi/linux/tcp.h
#define FIRST_EPHEMERAL 32768

enum type { // as upstream's YAML names them
	RETRANSMIT = 1,
	TAIL_LOSS_PROBE = 2,
};

struct ipv4_key {
	u32 local;
	u32 peer;
	u32 main_port;
	u32 type;
};

struct ipv6_key {
	struct in6_addr local;
	struct in6_addr peer;
	u32 main_port;
	u32 type;
};

const volatile bool per_address = false;

COUNTER_ARRAY(tcp_retransmits_total, 1);
RECENT_COUNTER_MAP(tcp_retransmit_ipv4_packets_total, struct ipv4_key, 4096);
RECENT_COUNTER_MAP(tcp_retransmit_ipv6_packets_total, struct ipv6_key, 4096);

// The lower one, as that is the service's; 0 if even that is of no service.
static __always_inline u32 main_port_of(struct sock *sk)
{
	u16 local = BPF_CORE_READ(sk, __sk_common.skc_num);
	u16 peer = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	u16 lower = local < peer ? local : peer;

	return lower < FIRST_EPHEMERAL ? lower : 0;
}

// A loss probe is sent while its timer is still marked as pending, and never once loss is known.
static __always_inline u32 type_of(struct sock *sk)
{
	struct inet_connection_sock *icsk = (void *)sk;

	if (BPF_CORE_READ(icsk, icsk_pending) == LOSS_PROBE_PENDING &&
	    BPF_CORE_READ_BITFIELD_PROBED(icsk, icsk_ca_state) < TCP_CA_RECOVERY)
		return TAIL_LOSS_PROBE;
	return RETRANSMIT;
}

static __always_inline void count_by_address(struct sock *sk)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	struct ipv6_key v6 = {};
	struct ipv4_key v4 = {};

	if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&v6.local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&v6.peer, sk, __sk_common.skc_v6_daddr);
		// ::ffff:0:0/96 is IPv4, whose addresses the socket has as well
		if (v6.peer.in6_u.u6_addr32[0] || v6.peer.in6_u.u6_addr32[1] ||
		    v6.peer.in6_u.u6_addr32[2] != __builtin_bswap32(0xffff)) {
			v6.main_port = main_port_of(sk);
			v6.type = type_of(sk);
			count(tcp_retransmit_ipv6_packets_total, &v6, 1);
			return;
		}
	} else if (family != AF_INET) {
		return;
	}
	v4.local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	v4.peer = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	v4.main_port = main_port_of(sk);
	v4.type = type_of(sk);
	count(tcp_retransmit_ipv4_packets_total, &v4, 1);
}

static __always_inline int sent_again(struct sock *sk, struct sk_buff *skb)
{
	struct tcp_skb_cb cb = {};
	u32 only = 0;

	bpf_probe_read_kernel(&cb.tcp_gso_segs, sizeof(cb.tcp_gso_segs),
			      (void *)skb + bpf_core_field_offset(skb->cb) +
				      bpf_core_field_offset(cb.tcp_gso_segs));
	count(tcp_retransmits_total, &only, cb.tcp_gso_segs ?: 1);
	if (per_address)
		count_by_address(sk);
	return 0;
}

static __always_inline int answered_again(void)
{
	u32 only = 0;

	count(tcp_retransmits_total, &only, 1);
	return 0;
}

// Read directly, so that a kernel which passes something else refuses this.
TP_BTF(segment_btf, tcp_retransmit_skb, struct sock *sk, struct sk_buff *skb)
{
	return sk->__sk_common.skc_family && skb ? sent_again(sk, skb) : 0;
}

RAW_TP(segment_raw, tcp_retransmit_skb, struct sock *sk, struct sk_buff *skb)
{
	return sent_again(sk, skb);
}

// the answer to a connection's first segment, when it seems to have been lost
RAW_TP(synack_raw, tcp_retransmit_synack)
{
	return answered_again();
}

char LICENSE[] SEC("license") = "GPL";
