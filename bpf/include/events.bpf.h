// SPDX-License-Identifier: GPL-2.0
// Events for user space: a ring buffer, and what did not fit into it counted as maps.bpf.h counts
// refused updates.
#pragma once

#include "maps.bpf.h"

// `bytes` is a power of two and a multiple of the page size.
#define EVENT_MAP(map, bytes)                                                                     \
	struct {                                                                                  \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                               \
		__uint(max_entries, bytes);                                                       \
	} map SEC(".maps");                                                                       \
	u64 refused_##map

static __always_inline void km_emit(void *map, void *event, u64 size, u64 *refused)
{
	if (bpf_ringbuf_output(map, event, size, 0))
		__sync_fetch_and_add(refused, 1);
}

// `event` is a pointer to what is sent, whole.
#define emit(map, event) km_emit(&map, event, sizeof(*(event)), &refused_##map)
