// SPDX-License-Identifier: GPL-2.0
// An XDP program whose section says the interface, as ebpf_exporter has it.
#include "maps.bpf.h"

enum where { AT_XDP = 1 };

COUNTER_MAP(seen_total, u32, 16);

static __always_inline void saw(u32 where)
{
	count(seen_total, &where, 1);
}

SEC("xdp/kernmesh0")
int at_xdp(struct xdp_md *ctx)
{
	saw(AT_XDP);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
