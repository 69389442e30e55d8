// SPDX-License-Identifier: GPL-2.0
// The same programs compiled by bcc: what libbpf's headers, CO-RE and global variables do for the
// other backend. exporter/ebpf/bcc_source.py puts the rest in front of the program: sizes of maps,
// and the kernel's types with their fields where this kernel has them.
#pragma once

#include <uapi/linux/ptrace.h>

// Helpers are bcc's, whose names are the same.
#define __BPF_HELPERS__
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

// What to hook is told by the agent, which knows it from the object.
#define SEC(name)

// The kernel's own names for 0 and 1, of its headers.
#undef READ
#undef WRITE

// Fields stand where they are, so nothing is relocated. As with libbpf, reading a field that the
// kernel has not makes the kernel refuse the function, unless the program has asked before.
static void (*km_reads_what_is_not_there)(void) = (void *)195896080;
#define ___km_there1(p, a) bpf_core_field_exists((p)->a)
#define ___km_there2(p, a, b) (___km_there1(p, a) && bpf_core_field_exists((p)->a->b))
#define ___km_there3(p, a, b, c) (___km_there2(p, a, b) && bpf_core_field_exists((p)->a->b->c))
#define ___km_there4(p, a, b, c, d)                                                               \
	(___km_there3(p, a, b, c) && bpf_core_field_exists((p)->a->b->c->d))
#define ___km_there(p, fields...) ___apply(___km_there, ___narg(fields))(p, fields)
#undef BPF_CORE_READ
#define BPF_CORE_READ(p, fields...)                                                               \
	({                                                                                        \
		if (!___km_there(p, fields))                                                      \
			km_reads_what_is_not_there();                                             \
		BPF_PROBE_READ(p, fields);                                                        \
	})
// Where the verifier knows types is where there is BTF, and bcc is not needed.
#define KM_READ(known, p, field) BPF_CORE_READ(p, field)

// A field that the kernel has not is declared with this alignment, which no other has.
#define KM_ABSENT __attribute__((aligned(4096)))
#undef bpf_core_field_exists
#define bpf_core_field_exists(field) (__alignof__(field) < 4096)
#undef bpf_core_field_offset
#define bpf_core_field_offset(type, field) __builtin_offsetof(type, field)
#undef bpf_core_enum_value_exists
#define bpf_core_enum_value_exists(type, name) km_has_##name
#undef bpf_core_enum_value
#define bpf_core_enum_value(type, name) km_value_##name

// bcc knows maps by numbers that it gives them as they are declared, from -1 downwards, and puts
// file descriptors in their place when it loads.
enum { KM_FIRST = __COUNTER__ + 1 };
#define KM_MAP(map, kind, key_type, value_type, entries)                                          \
	enum { km_number_##map = __COUNTER__ - KM_FIRST };                                        \
	BPF_F_TABLE(KM_KIND_##map, key_type, value_type, map, KM_ENTRIES_##map, 0)
#define KM_AT(map) ((void *)bpf_pseudo_fd(1, -1 - km_number_##map))

#define KM_SHARED(map) enum { shared_##map = KM_SHARED_##map }
#define KM_SNAPSHOT(map) enum { snapshot_##map = 1 }

// There are no global variables: what maps refused is in one more map, by KM_INDEX_<map>.
#define KM_KIND_km_refused "array"
#define KM_ENTRIES_km_refused 64
KM_MAP(km_refused, BPF_MAP_TYPE_ARRAY, u32, u64, 64);
#define KM_REFUSED(map) ((u64 *)(long)KM_INDEX_##map)

static __always_inline void km_refuse(u64 *refused)
{
	u32 number = (u32)(long)refused;
	u64 *times = bpf_map_lookup_elem(KM_AT(km_refused), &number);

	if (times)
		__sync_fetch_and_add(times, 1);
}

// Zeroes of a histogram's size, from a map as well.
#define KM_ZEROES(map)                                                                            \
	enum { km_number_km_zeroes_##map = __COUNTER__ - KM_FIRST };                              \
	BPF_F_TABLE("array", u32, struct map##_value, km_zeroes_##map, 1, 0)
#define KM_ZERO(map) km_first_of(KM_AT(km_zeroes_##map))

static __always_inline void *km_first_of(void *array)
{
	u32 first = 0;

	return bpf_map_lookup_elem(array, &first);
}

// bcc loads functions that are not static, and lets nobody call these, as libbpf's macros do.
#define KM_CALLING(function, context, values, args...)                                            \
	int function(context);                                                                    \
	static __always_inline int km_do_##function(context, ##args);                             \
	int function(context)                                                                     \
	{                                                                                         \
		return km_do_##function(values);                                                  \
	}                                                                                         \
	static __always_inline int km_do_##function(context, ##args)
#define RAW_TP(function, event, args...)                                                          \
	KM_CALLING(function, unsigned long long *ctx, ___bpf_ctx_cast(args), ##args)
#define KPROBE(function, target, args...)                                                         \
	KM_CALLING(function, struct pt_regs *ctx, ___bpf_kprobe_args(args), ##args)

// Hooks that need the kernel's BTF: what they would run is compiled and left out.
#define KM_UNUSED(function, args...)                                                              \
	static __attribute__((unused)) int function(void *km_ctx, ##args)
#define TP_BTF(function, event, args...) KM_UNUSED(function, ##args)
#define FENTRY(function, target, args...) KM_UNUSED(function, ##args)
#define FEXIT(function, target, args...) KM_UNUSED(function, ##args)
#define ITER(function, kind)                                                                      \
	static __attribute__((unused)) int function(struct bpf_iter__##kind *ctx)
