// SPDX-License-Identifier: GPL-2.0
// Compiled BPF programs that there are now, and the pages that their code takes.
//
// Counted when it is read, by walking over all programs that have an id. What the kernel compiles
// besides these (seccomp and packet filters in classic BPF, trampolines) has none and is not seen.
#include "maps.bpf.h"

#define MOST_FUNCTIONS 256 // kernel/bpf/verifier.c: BPF_MAX_SUBPROGS
#define CHUNK 64           // include/linux/filter.h: BPF_PROG_CHUNK_SIZE
#define LEAST_AROUND 20    // header, and illegal instructions behind the code

SNAPSHOT_MAP(bpf_jit_programs, u32, 1);
SNAPSHOT_MAP(bpf_jit_pages_currently_allocated, u32, 1);

const volatile u64 km_page_bytes = 4096; // set at load
u64 walked_bytes;                        // so far in the walk that is under way

// What the header there says was allocated for so much code; 0 if that can be no such header.
static __always_inline u64 allocated_at(u64 address, u64 code_bytes)
{
	struct bpf_binary_header *header = (void *)address;
	struct bpf_binary_header___before_5_18 *older = (void *)address;
	u64 bytes;

	if (bpf_core_field_exists(header->size))
		bytes = BPF_CORE_READ(header, size);
	else
		bytes = BPF_CORE_READ(older, pages) * km_page_bytes;
	return bytes >= code_bytes && bytes <= code_bytes + 2 * km_page_bytes ? bytes : 0;
}

// Code lies in chunks of a pack that many programs share, or (older kernels, other machines) in
// pages of its own; the header is where its chunk or page begins.
static __always_inline u64 allocated(struct bpf_prog *program)
{
	u64 start = (u64)BPF_CORE_READ(program, bpf_func);
	u64 code_bytes = BPF_CORE_READ(program, jited_len);
	u64 bytes;

	if (!code_bytes)
		return 0;
	bytes = allocated_at(start & ~(u64)(CHUNK - 1), code_bytes);
	if (!bytes)
		bytes = allocated_at(start & ~(km_page_bytes - 1), code_bytes);
	if (!bytes)
		bytes = (code_bytes + LEAST_AROUND + CHUNK - 1) & ~(u64)(CHUNK - 1);
	return bytes;
}

ITER(walk, bpf_prog)
{
	struct bpf_prog *program = ctx->prog;
	struct bpf_prog **functions, *function;
	u64 how_many, index;
	u32 only = 0;

	if (!program) {
		count(bpf_jit_pages_currently_allocated, &only,
		      (walked_bytes + km_page_bytes - 1) / km_page_bytes);
		return 0;
	}
	if (ctx->meta->seq_num == 0)
		walked_bytes = 0;
	if (!BPF_CORE_READ(program, jited_len))
		return 0;
	count(bpf_jit_programs, &only, 1);
	how_many = BPF_CORE_READ(program, aux, func_cnt);
	functions = BPF_CORE_READ(program, aux, func);
	if (!how_many || !functions) {
		walked_bytes += allocated(program);
		return 0;
	}
	for (index = 0; index < MOST_FUNCTIONS && index < how_many; index++)
		if (!bpf_probe_read_kernel(&function, sizeof(function), functions + index))
			walked_bytes += allocated(function);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
