// SPDX-License-Identifier: GPL-2.0
// Histograms that cost one lookup for each event: slots, what lies above them, and the sum stand
// in one value, per CPU unless that would not fit the map budget.
#pragma once

#include "maps.bpf.h"

// slots[n] counts values v, in buckets' units, with 2^(n-1) < v <= 2^n; slots[0] those <= 1.
// What is above the last slot is only in `overflow`. `sum` is in units, each value rounded.
#define HIST_MAP(map, key_type, nslots, entries)                                                  \
	KM_HIST_MAP(map, BPF_MAP_TYPE_PERCPU_HASH, key_type, nslots, entries)

// The same for keys that come and go: when full, the longest unused gives way.
#define RECENT_HIST_MAP(map, key_type, nslots, entries)                                           \
	KM_HIST_MAP(map, BPF_MAP_TYPE_LRU_PERCPU_HASH, key_type, nslots, entries)

#define KM_HIST_MAP(map, kind, key_type, nslots, entries)                                         \
	struct map##_value {                                                                      \
		u64 slots[nslots];                                                                \
		u64 overflow;                                                                     \
		u64 sum;                                                                          \
	};                                                                                        \
	KM_ZEROES(map);                                                                           \
	KM_MAP(map, kind, key_type, struct map##_value, entries);                                 \
	KM_SHARED(map)

// How many slots the map's histograms have.
#define KM_SLOTS(map) (sizeof(((struct map##_value *)0)->slots) / sizeof(u64))

#ifndef KM_BCC
#define KM_ZEROES(map) static const struct map##_value map##_zero
#define KM_ZERO(map) ((void *)&map##_zero)
#endif

// 2^log2 if v > limit, else 0; for both below 2^63. BPF has no conditional set, and branches here
// would be guessed wrong half of the time: the sign of the difference is taken instead.
#define KM_IF_ABOVE(v, limit, log2) ((((u64)(limit) - (v)) >> 63) << (log2))

// The least n with v <= 2^n.
static __always_inline u64 km_exp2_slot(u64 v)
{
	u64 n = 0, step;

	if (v <= 1)
		return 0;
	v--;
	if (v >> 32) {
		v >>= 32;
		n = 32;
	}
	step = KM_IF_ABOVE(v, 0xffff, 4);
	v >>= step;
	n += step;
	step = KM_IF_ABOVE(v, 0xff, 3);
	v >>= step;
	n += step;
	step = KM_IF_ABOVE(v, 0xf, 2);
	v >>= step;
	n += step;
	step = KM_IF_ABOVE(v, 0x3, 1);
	v >>= step;
	n += step;
	return n + (v >> 1) + 1;
}

// `value` points to nslots slots, overflow and sum: nslots + 2 numbers in a row.
static __always_inline void km_observe(u64 *value, u64 nslots, u64 slot, u64 units, bool shared)
{
	// 6.1's verifier loses the bound of an index that clang keeps in 32 bits or checks early.
	asm volatile("" : "+r"(slot));
	if (slot > nslots)
		slot = nslots;
	km_add(value + slot, 1, shared);
	km_add(value + nslots + 1, units, shared);
}

static __always_inline void km_observe_exp2(void *map, const void *key, const void *zero,
					    u64 nslots, u64 amount, u64 unit, bool shared,
					    u64 *refused)
{
	u64 *value = km_value(map, key, zero, refused);
	u64 whole = amount / unit;
	u64 rest = amount - whole * unit;

	if (value)
		km_observe(value, nslots, km_exp2_slot(whole + (rest != 0)),
			   whole + (rest * 2 >= unit), shared);
}

// Records `amount`, which `unit` divides into the buckets' units (ns and 1000 for µs). A value
// falls into the bucket that really holds it: 1.2 µs is above le="1e-06".
#define observe_exp2(map, key, amount, unit)                                                      \
	km_observe_exp2(KM_AT(map), key, KM_ZERO(map), KM_SLOTS(map), amount, unit,               \
			shared_##map, KM_REFUSED(map))

// Records `amount`, already in the buckets' units, in a slot that the program chose.
#define observe_slot(map, key, slot, amount)                                                      \
	do {                                                                                      \
		u64 *km_slots = km_value(KM_AT(map), key, KM_ZERO(map), KM_REFUSED(map));         \
                                                                                                  \
		if (km_slots)                                                                     \
			km_observe(km_slots, KM_SLOTS(map), slot,                                 \
				   amount, shared_##map);                                         \
	} while (0)
