// SPDX-License-Identifier: GPL-2.0
// Functions that run at an interface or in a cgroup, and so only where somebody says.
#include "maps.bpf.h"

enum where { AT_XDP = 1, AT_TC, AT_CGROUP };

COUNTER_MAP(seen_total, u32, 16);

static __always_inline void saw(u32 where)
{
	count(seen_total, &where, 1);
}

SEC("xdp")
int at_xdp(struct xdp_md *ctx)
{
	saw(AT_XDP);
	return XDP_PASS;
}

SEC("tc")
int at_tc(struct __sk_buff *ctx)
{
	saw(AT_TC);
	return -1; // whoever comes next decides
}

SEC("cgroup/connect4")
int at_cgroup(struct bpf_sock_addr *ctx)
{
	saw(AT_CGROUP);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
