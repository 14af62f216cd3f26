/* See metadata-table.h. */
#include "metadata-table.h"

#include <stdlib.h>
#include <string.h>

/* Of all objects of a run: a system with a million files has some 100 MiB. */
#define MAX_USED_BYTES (128 * 1024 * 1024)
#define FIRST_COUNT 4096
#define FIRST_BYTES (1024 * 1024)

/* Where the entries of a file begin: behind their number. */
#define ENTRIES_AT sizeof(uint32_t)

bool metadata_table_open(struct metadata_table *table, const uint8_t *file, size_t size)
{
    uint32_t count;
    if (size < ENTRIES_AT || size > UINT32_MAX)
        return false;
    memcpy(&count, file, sizeof(count));
    if (count > (size - ENTRIES_AT) / sizeof(*table->known))
        return false;
    /* In which the entries stand where words may stand. */
    uint8_t *copy = malloc(size - ENTRIES_AT + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, file + ENTRIES_AT, size - ENTRIES_AT);
    table->known = (const struct known_metadata *)copy;
    table->known_count = count;
    table->known_bytes = copy + count * sizeof(*table->known);
    table->known_size = size - ENTRIES_AT - count * sizeof(*table->known);
    return true;
}

void metadata_table_close(struct metadata_table *table)
{
    free((void *)table->known);
    free(table->used);
    free(table->used_bytes);
}

static int compare_checksums(const void *a, const void *b)
{
    /* Both begin with it. */
    return memcmp(a, b, CHECKSUM_BYTES);
}

const uint8_t *metadata_table_find(const struct metadata_table *table, const uint8_t checksum[CHECKSUM_BYTES],
                                   uint32_t *size)
{
    if (table->known_count == 0)
        return NULL;
    const struct known_metadata *found =
        bsearch(checksum, table->known, table->known_count, sizeof(*table->known), compare_checksums);
    if (found == NULL || found->at > table->known_size || found->size > table->known_size - found->at)
        return NULL;
    *size = found->size;
    return table->known_bytes + found->at;
}

/* Makes room for so many more; false when there is none. */
static bool grow(void **memory, uint32_t *room, uint32_t first, uint32_t used, uint32_t more, size_t unit)
{
    uint32_t wanted = *room == 0 ? first : *room;
    while (wanted - used < more)
        wanted *= 2;
    if (wanted == *room)
        return true;
    void *larger = realloc(*memory, wanted * unit);
    if (larger == NULL)
        return false;
    *memory = larger;
    *room = wanted;
    return true;
}

void metadata_table_use(struct metadata_table *table, const uint8_t checksum[CHECKSUM_BYTES], const uint8_t *bytes,
                        uint32_t size)
{
    if (size > MAX_USED_BYTES - table->used_size || table->used_count > MAX_USED_BYTES / sizeof(*table->used) ||
        !grow((void **)&table->used, &table->used_room, FIRST_COUNT, table->used_count, 1, sizeof(*table->used)) ||
        !grow((void **)&table->used_bytes, &table->used_bytes_room, FIRST_BYTES, table->used_size, size, 1))
        return;
    struct known_metadata *entry = &table->used[table->used_count++];
    memcpy(entry->checksum, checksum, CHECKSUM_BYTES);
    entry->at = table->used_size;
    entry->size = size;
    memcpy(table->used_bytes + table->used_size, bytes, size);
    table->used_size += size;
}

uint32_t metadata_table_write(struct metadata_table *table, uint8_t *file, uint32_t room)
{
    uint32_t entries = table->used_count * sizeof(*table->used), all = ENTRIES_AT + entries + table->used_size;
    if (room < all)
        return all;
    memcpy(file, &table->used_count, sizeof(table->used_count));
    if (table->used_count == 0)
        return all;
    qsort(table->used, table->used_count, sizeof(*table->used), compare_checksums);
    memcpy(file + ENTRIES_AT, table->used, entries);
    memcpy(file + ENTRIES_AT + entries, table->used_bytes, table->used_size);
    return all;
}
