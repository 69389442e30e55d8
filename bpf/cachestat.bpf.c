// SPDX-License-Identifier: GPL-2.0
// What happens to pages of the page cache, by operation. A page that the kernel handles as one
// folio of several counts once, as do several pages that are asked for at once.
#include "maps.bpf.h"

enum operation {
	ADD_TO_PAGE_CACHE_LRU,
	MARK_PAGE_ACCESSED,
	FOLIO_ACCOUNT_DIRTIED,
	MARK_BUFFER_DIRTY,
	FILEMAP_REMOVE_FOLIO,
	FILEMAP_GET_PAGES,
	FILEMAP_MAP_PAGES,
	FILEMAP_FAULT,
};

// Only what is hooked has a row: what this kernel cannot tell stays away and is not 0.
COUNTER_MAP(page_cache_ops_total, u32, 16); // enum operation

static __always_inline int counted(u32 operation)
{
	count(page_cache_ops_total, &operation, 1);
	return 0;
}

RAW_TP(added, mm_filemap_add_to_page_cache)
{
	return counted(ADD_TO_PAGE_CACHE_LRU);
}

RAW_TP(removed, mm_filemap_delete_from_page_cache)
{
	return counted(FILEMAP_REMOVE_FOLIO);
}

RAW_TP(dirtied, writeback_dirty_folio)
{
	return counted(FOLIO_ACCOUNT_DIRTIED);
}

// up to 5.17
RAW_TP(dirtied_page, writeback_dirty_page)
{
	return counted(FOLIO_ACCOUNT_DIRTIED);
}

RAW_TP(buffer_dirtied, block_dirty_buffer)
{
	return counted(MARK_BUFFER_DIRTY);
}

// from 6.12 on
RAW_TP(asked_for, mm_filemap_get_pages)
{
	return counted(FILEMAP_GET_PAGES);
}

RAW_TP(mapped, mm_filemap_map_pages)
{
	return counted(FILEMAP_MAP_PAGES);
}

RAW_TP(faulted, mm_filemap_fault)
{
	return counted(FILEMAP_FAULT);
}

FENTRY(accessed_fentry, folio_mark_accessed)
{
	return counted(MARK_PAGE_ACCESSED);
}

KPROBE(accessed_kprobe, folio_mark_accessed)
{
	return counted(MARK_PAGE_ACCESSED);
}

// up to 5.15
FENTRY(page_accessed_fentry, mark_page_accessed)
{
	return counted(MARK_PAGE_ACCESSED);
}

KPROBE(page_accessed_kprobe, mark_page_accessed)
{
	return counted(MARK_PAGE_ACCESSED);
}

char LICENSE[] SEC("license") = "GPL";
