/*
 * Dirtrees and dirmetas of a repository, as an earlier run has read them: in a file for which nobody vouches. What is
 * found has the checksum that was asked for, whoever has written it.
 */
#ifndef SEALROOT_METADATA_TABLE_H
#define SEALROOT_METADATA_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "object-tables.h"

/* The file's form: their number, these in the order of the checksums, their bytes. It may begin at any place in memory. */
struct known_metadata {
    uint8_t checksum[CHECKSUM_BYTES];
    /* From the first of all bytes. */
    uint32_t at, size;
} __attribute__((packed));

/* A file of the caller. */
struct metadata_part {
    const struct known_metadata *known;
    uint32_t count;
    const uint8_t *bytes;
    uint32_t size;
};

struct used_metadata {
    uint8_t checksum[CHECKSUM_BYTES];
    /* Among the bytes of that part; KNOWN_PARTS: those that were read. */
    uint32_t part;
    uint32_t at, size;
};

struct metadata_table {
    struct metadata_part parts[KNOWN_PARTS];
    uint32_t part_count;
    /* Those of this one, in the order in which they were asked for. */
    struct used_metadata *used;
    uint32_t used_count, used_room, used_size;
    uint8_t *read_bytes;
    uint32_t read_size, read_room;
};

/* Adds those of this file, which has to stay where it is; none of one that has another form. */
void metadata_table_add(struct metadata_table *table, const uint8_t *file, size_t size);
void metadata_table_close(struct metadata_table *table);
/* NULL when there is none; its bytes are yet to be hashed. */
const uint8_t *metadata_table_find(const struct metadata_table *table, const uint8_t checksum[CHECKSUM_BYTES],
                                   uint32_t *size);
/* Notes one of this run, found in the table or read, unless there is no more room for it. */
void metadata_table_use(struct metadata_table *table, const uint8_t checksum[CHECKSUM_BYTES], const uint8_t *bytes,
                        uint32_t size);
/* How large the file is of those of this run that were not in one of the first so many; it is written when it has room. */
uint32_t metadata_table_write(struct metadata_table *table, uint32_t first, uint8_t *file, uint32_t room);

#endif
