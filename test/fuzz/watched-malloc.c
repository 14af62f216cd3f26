/* In the place of slab.c: each block is one of malloc(3), so that AddressSanitizer sees where it ends. */
#include <malloc.h>
#include <stdlib.h>

#include "quickjs.h"

static void *get(JSMallocState *state, size_t size)
{
    return malloc(size);
}

static void give_back(JSMallocState *state, void *block)
{
    free(block);
}

static void *resize(JSMallocState *state, void *block, size_t size)
{
    if (size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, size);
}

static size_t usable_size(const void *block)
{
    return malloc_usable_size((void *)block);
}

const JSMallocFunctions slab_functions = { get, give_back, resize, usable_size };

void slab_expect_much(void)
{
}
