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
    table->known = (const struct known_metadata *)(file + ENTRIES_AT);
    table->known_count = count;
    table->known_bytes = file + ENTRIES_AT + count * sizeof(*table->known);
    table->known_size = size - ENTRIES_AT - count * sizeof(*table->known);
    return true;
}

void metadata_table_close(struct metadata_table *table)
{
    free(table->used);
    free(table->read_bytes);
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

static bool is_known(const struct metadata_table *table, const uint8_t *bytes)
{
    uintptr_t from = (uintptr_t)table->known_bytes, at = (uintptr_t)bytes;
    return at >= from && at - from < table->known_size;
}

void metadata_table_use(struct metadata_table *table, const uint8_t checksum[CHECKSUM_BYTES], const uint8_t *bytes,
                        uint32_t size)
{
    bool known = is_known(table, bytes);
    if (size > MAX_USED_BYTES - table->used_size || table->used_count > MAX_USED_BYTES / sizeof(*table->used) ||
        !grow((void **)&table->used, &table->used_room, FIRST_COUNT, table->used_count, 1, sizeof(*table->used)) ||
        (!known && !grow((void **)&table->read_bytes, &table->read_room, FIRST_BYTES, table->read_size, size, 1)))
        return;
    struct used_metadata *used = &table->used[table->used_count++];
    memcpy(used->checksum, checksum, CHECKSUM_BYTES);
    used->is_known = known;
    used->at = known ? bytes - table->known_bytes : table->read_size;
    used->size = size;
    table->used_size += size;
    if (known)
        return;
    memcpy(table->read_bytes + table->read_size, bytes, size);
    table->read_size += size;
}

uint32_t metadata_table_write(struct metadata_table *table, uint8_t *file, uint32_t room)
{
    uint32_t entries = table->used_count * sizeof(*table->known), all = ENTRIES_AT + entries + table->used_size;
    if (room < all)
        return all;
    memcpy(file, &table->used_count, sizeof(table->used_count));
    if (table->used_count == 0)
        return all;
    qsort(table->used, table->used_count, sizeof(*table->used), compare_checksums);
    struct known_metadata *entry = (struct known_metadata *)(file + ENTRIES_AT);
    uint8_t *bytes = file + ENTRIES_AT + entries;
    uint32_t at = 0;
    for (uint32_t i = 0; i < table->used_count; i++, entry++) {
        const struct used_metadata *used = &table->used[i];
        memcpy(entry->checksum, used->checksum, CHECKSUM_BYTES);
        entry->at = at;
        entry->size = used->size;
        memcpy(bytes + at, (used->is_known ? table->known_bytes : table->read_bytes) + used->at, used->size);
        at += used->size;
    }
    return all;
}
