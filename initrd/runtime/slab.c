/*
 * Memory for a process that lives for milliseconds. musl's malloc doubles the time of BigInt arithmetic, which
 * allocates one small block per operation; free lists per size class cost two instructions instead.
 *
 * Small blocks are multiples of 16 bytes, carved out of 64 KiB regions and never given back to the kernel. Larger
 * ones are mappings of their own, so that freeing a 16 MiB buffer returns its pages. Each block is preceded by an
 * 8-byte header that holds its whole size, header included.
 *
 * A program that is going to need much (slab_expect_much) gets larger regions, whose pages are there at once, and keeps
 * mappings of a few pages: in an emulated machine a page fault costs more than what is then done with the page.
 */
#include <string.h>
#include <sys/mman.h>

#include "runtime.h"

#define STEP 16
#define HEADER 8
#define SMALL_MAX 2048
#define REGION (64 * 1024)
#define LARGE_REGION (1024 * 1024)
#define PAGE 4096
/* A mapping starts with two words so that what follows is aligned like a small block. */
#define MAPPING_HEADER 16

struct free_block {
    struct free_block *next;
};

static struct free_block *free_blocks[SMALL_MAX / STEP + 1];
static char *region_at, *region_end;

#define KEPT_PAGES 16
static int expects_much;
/* By their number of pages. */
static struct free_block *kept_mappings[KEPT_PAGES + 1];

void slab_expect_much(void)
{
    expects_much = 1;
}

static size_t *header_of(const void *block)
{
    return (size_t *)((char *)block - HEADER);
}

static size_t slab_usable_size(const void *block)
{
    if (!block)
        return 0;
    size_t whole = *header_of(block);
    return whole - (whole <= SMALL_MAX ? HEADER : MAPPING_HEADER);
}

static void *map_pages(size_t size, int flags)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static void *allocate_small(size_t whole)
{
    struct free_block **list = &free_blocks[whole / STEP];
    struct free_block *block = *list;
    if (__builtin_expect(block != NULL, 1)) {
        *list = block->next;
        return block;
    }
    if ((size_t)(region_end - region_at) < whole) {
        /* The rest of the old region is lost: at most SMALL_MAX of 64 KiB. */
        size_t size = expects_much ? LARGE_REGION : REGION;
        char *region = map_pages(size, expects_much ? MAP_POPULATE : 0);
        if (!region)
            return NULL;
        region_at = region + STEP - HEADER;
        region_end = region + size;
    }
    *(size_t *)region_at = whole;
    block = (struct free_block *)(region_at + HEADER);
    region_at += whole;
    return block;
}

static void *allocate_mapping(size_t size)
{
    size_t whole = (size + MAPPING_HEADER + PAGE - 1) & ~(size_t)(PAGE - 1);
    if (whole <= KEPT_PAGES * PAGE && kept_mappings[whole / PAGE]) {
        struct free_block *kept = kept_mappings[whole / PAGE];
        kept_mappings[whole / PAGE] = kept->next;
        return kept;
    }
    char *pages = map_pages(whole, 0);
    if (!pages)
        return NULL;
    char *block = pages + MAPPING_HEADER;
    *header_of(block) = whole;
    return block;
}

static void *slab_malloc(JSMallocState *state, size_t size)
{
    if (__builtin_expect(size > PTRDIFF_MAX / 2 || state->malloc_size + size > state->malloc_limit, 0))
        return NULL;
    size_t whole = (size + HEADER + STEP - 1) & ~(size_t)(STEP - 1);
    void *block = __builtin_expect(whole <= SMALL_MAX, 1) ? allocate_small(whole) : allocate_mapping(size);
    if (!block)
        return NULL;
    state->malloc_count++;
    state->malloc_size += *header_of(block);
    return block;
}

static void slab_free(JSMallocState *state, void *block)
{
    if (!block)
        return;
    size_t whole = *header_of(block);
    state->malloc_count--;
    state->malloc_size -= whole;
    if (__builtin_expect(whole <= SMALL_MAX, 1)) {
        struct free_block *freed = block;
        freed->next = free_blocks[whole / STEP];
        free_blocks[whole / STEP] = freed;
    } else if (expects_much && whole <= KEPT_PAGES * PAGE) {
        struct free_block *kept = block;
        kept->next = kept_mappings[whole / PAGE];
        kept_mappings[whole / PAGE] = kept;
    } else {
        munmap((char *)block - MAPPING_HEADER, whole);
    }
}

static void *slab_realloc(JSMallocState *state, void *block, size_t size)
{
    if (!block)
        return size ? slab_malloc(state, size) : NULL;
    if (size == 0) {
        slab_free(state, block);
        return NULL;
    }
    size_t usable = slab_usable_size(block);
    if (size <= usable && size >= usable / 2)
        return block;
    void *grown = slab_malloc(state, size);
    if (!grown)
        return NULL;
    memcpy(grown, block, size < usable ? size : usable);
    slab_free(state, block);
    return grown;
}

const JSMallocFunctions slab_functions = { slab_malloc, slab_free, slab_realloc, slab_usable_size };
