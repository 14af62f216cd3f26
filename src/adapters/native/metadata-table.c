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

void metadata_table_add(struct metadata_table *table, const uint8_t *file, size_t size)
{
    struct metadata_part *part = &table->parts[table->part_count];
    uint32_t count = 0;
    if (table->part_count == KNOWN_PARTS)
        return;
    table->part_count++;
    if (size < ENTRIES_AT || size > UINT32_MAX)
        return;
    memcpy(&count, file, sizeof(count));
    if (count > (size - ENTRIES_AT) / sizeof(*part->known))
        return;
    part->known = (const struct known_metadata *)(file + ENTRIES_AT);
    part->count = count;
    part->bytes = file + ENTRIES_AT + count * sizeof(*part->known);
    part->size = size - ENTRIES_AT - count * sizeof(*part->known);
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

static const uint8_t *find_in(const struct metadata_part *part, const uint8_t checksum[CHECKSUM_BYTES], uint32_t *size)
{
    if (part->count == 0)
        return NULL;
    const struct known_metadata *found =
        bsearch(checksum, part->known, part->count, sizeof(*part->known), compare_checksums);
    if (found == NULL || found->at > part->size || found->size > part->size - found->at)
        return NULL;
    *size = found->size;
    return part->bytes + found->at;
}

const uint8_t *metadata_table_find(const struct metadata_table *table, const uint8_t checksum[CHECKSUM_BYTES],
                                   uint32_t *size)
{
    const uint8_t *found = NULL;
    /* The new one of two: it was read because the other was damaged. */
    for (uint32_t i = table->part_count; found == NULL && i > 0; i--)
        found = find_in(&table->parts[i - 1], checksum, size);
    return found;
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

/* In which of them these bytes are. */
static uint32_t part_of(const struct metadata_table *table, const uint8_t *bytes)
{
    for (uint32_t i = 0; i < table->part_count; i++) {
        uintptr_t from = (uintptr_t)table->parts[i].bytes, at = (uintptr_t)bytes;
        if (at >= from && at - from < table->parts[i].size)
            return i;
    }
    return KNOWN_PARTS;
}

void metadata_table_use(struct metadata_table *table, const uint8_t checksum[CHECKSUM_BYTES], const uint8_t *bytes,
                        uint32_t size)
{
    uint32_t part = part_of(table, bytes);
    bool known = part < KNOWN_PARTS;
    if (size > MAX_USED_BYTES - table->used_size || table->used_count > MAX_USED_BYTES / sizeof(*table->used) ||
        !grow((void **)&table->used, &table->used_room, FIRST_COUNT, table->used_count, 1, sizeof(*table->used)) ||
        (!known && !grow((void **)&table->read_bytes, &table->read_room, FIRST_BYTES, table->read_size, size, 1)))
        return;
    struct used_metadata *used = &table->used[table->used_count++];
    memcpy(used->checksum, checksum, CHECKSUM_BYTES);
    used->part = part;
    used->at = known ? bytes - table->parts[part].bytes : table->read_size;
    used->size = size;
    table->used_size += size;
    if (known)
        return;
    memcpy(table->read_bytes + table->read_size, bytes, size);
    table->read_size += size;
}

uint32_t metadata_table_write(struct metadata_table *table, uint32_t first, uint8_t *file, uint32_t room)
{
    uint32_t count = 0, size = 0;
    for (uint32_t i = 0; i < table->used_count; i++) {
        if (table->used[i].part < first)
            continue;
        count++;
        size += table->used[i].size;
    }
    uint32_t entries = count * sizeof(struct known_metadata), all = ENTRIES_AT + entries + size;
    if (room < all)
        return all;
    memcpy(file, &count, sizeof(count));
    if (count == 0)
        return all;
    qsort(table->used, table->used_count, sizeof(*table->used), compare_checksums);
    struct known_metadata *entry = (struct known_metadata *)(file + ENTRIES_AT);
    uint8_t *bytes = file + ENTRIES_AT + entries;
    uint32_t at = 0;
    for (uint32_t i = 0; i < table->used_count; i++) {
        const struct used_metadata *used = &table->used[i];
        if (used->part < first)
            continue;
        const uint8_t *from = used->part < KNOWN_PARTS ? table->parts[used->part].bytes : table->read_bytes;
        memcpy(entry->checksum, used->checksum, CHECKSUM_BYTES);
        entry->at = at;
        entry->size = used->size;
        memcpy(bytes + at, from + used->at, used->size);
        at += used->size;
        entry++;
    }
    return all;
}
