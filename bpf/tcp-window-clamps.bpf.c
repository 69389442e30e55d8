// SPDX-License-Identifier: GPL-2.0
// TCP receive windows that had to be cut, and the time that connections spent in each state of
// congestion control.
//
// Both are looked up whenever a segment comes in on an established connection: a window was cut
// where the socket's limit is lower than at the segment before. States' changes are told by an
// event of their own where there is one, and else seen with the next segment.
#include "maps.bpf.h"

#define TCP_ESTABLISHED 1 // include/net/tcp_states.h
#define TCP_CLOSE 7
#define IPPROTO_TCP 6
#define OFTEN 100 // jiffies: 0.1 to 1 s

struct connection {
	u64 since;        // ns, up to which time is accounted for
	u64 since_jiffies;
	u32 state;        // enum tcp_ca_state, uapi/linux/tcp.h
	u32 rcv_ssthresh; // as at the last segment; 0: there was none yet
};

COUNTER_ARRAY(tcp_window_clamps_total, 1);
COUNTER_MAP(tcp_congestion_state_seconds_total, u32, 8); // enum tcp_ca_state; ns
RECENT_MAP(tcp_connections, u64, struct connection, 32768); // socket

static __always_inline u32 state_of(struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD_PROBED((struct inet_connection_sock *)sk, icsk_ca_state);
}

static __always_inline void enters(struct connection *connection, u32 state)
{
	u64 now = bpf_ktime_get_ns();
	u32 before = connection->state;

	count(tcp_congestion_state_seconds_total, &before, now - connection->since);
	connection->since = now;
	connection->since_jiffies = bpf_jiffies64();
	connection->state = state;
}

static __always_inline void looks(struct connection *connection, u32 rcv_ssthresh)
{
	u32 only = 0;

	if (rcv_ssthresh < connection->rcv_ssthresh)
		count(tcp_window_clamps_total, &only, 1);
	if (rcv_ssthresh != connection->rcv_ssthresh)
		connection->rcv_ssthresh = rcv_ssthresh;
}

static __always_inline void meets(u64 id, u32 state, u32 rcv_ssthresh)
{
	struct connection connection = {.since = bpf_ktime_get_ns(),
					.since_jiffies = bpf_jiffies64(),
					.state = state,
					.rcv_ssthresh = rcv_ssthresh};

	put(tcp_connections, &id, &connection);
}

static __always_inline int segment(struct sock *sk, u32 state, u32 rcv_ssthresh)
{
	u64 id = (u64)sk;
	struct connection *connection = get(tcp_connections, &id);

	if (!connection) {
		meets(id, state, rcv_ssthresh);
		return 0;
	}
	looks(connection, rcv_ssthresh);
	// Now and then, so that a connection that lives long shows before it ends. Jiffies cost
	// nothing, the time in ns more than all the rest here.
	if (connection->state != state || bpf_jiffies64() - connection->since_jiffies >= OFTEN)
		enters(connection, state);
	return 0;
}

static __always_inline int congestion(struct sock *sk, u32 state)
{
	u64 id = (u64)sk;
	struct connection *connection = get(tcp_connections, &id);

	if (!connection)
		meets(id, state, 0);
	else if (connection->state != state)
		enters(connection, state);
	return 0;
}

static __always_inline int changed(struct sock *sk, int now)
{
	u64 id = (u64)sk;
	struct connection *connection;

	if ((now != TCP_ESTABLISHED && now != TCP_CLOSE) ||
	    BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	if (now == TCP_ESTABLISHED) {
		// the window's limit is not settled yet
		meets(id, state_of(sk), 0);
		return 0;
	}
	connection = get(tcp_connections, &id);
	if (!connection)
		return 0;
	looks(connection, BPF_CORE_READ((struct tcp_sock *)sk, rcv_ssthresh));
	enters(connection, 0);
	drop(tcp_connections, &id);
	return 0;
}

TP_BTF(segment_btf, tcp_probe, struct sock *sk)
{
	struct tcp_sock *tcp = (void *)bpf_skc_to_tcp_sock(sk);

	if (!tcp)
		return 0;
	return segment(sk, BPF_CORE_READ_BITFIELD(&tcp->inet_conn, icsk_ca_state),
		       tcp->rcv_ssthresh);
}

RAW_TP(segment_raw, tcp_probe, struct sock *sk)
{
	return segment(sk, state_of(sk), BPF_CORE_READ((struct tcp_sock *)sk, rcv_ssthresh));
}

RAW_TP(congestion_raw, tcp_cong_state_set, struct sock *sk, u8 state)
{
	return congestion(sk, state);
}

RAW_TP(state_raw, inet_sock_set_state, struct sock *sk, int before, int now)
{
	return changed(sk, now);
}

char LICENSE[] SEC("license") = "GPL";
