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

struct used_metadata {
    uint8_t checksum[CHECKSUM_BYTES];
    /* Among the known bytes, or those that were read. */
    bool is_known;
    uint32_t at, size;
};

struct metadata_table {
    /* Those of the earlier run, in the caller's file. */
    const struct known_metadata *known;
    uint32_t known_count;
    const uint8_t *known_bytes;
    uint32_t known_size;
    /* Those of this one, in the order in which they were asked for. */
    struct used_metadata *used;
    uint32_t used_count, used_room, used_size;
    uint8_t *read_bytes;
    uint32_t read_size, read_room;
};

/* Of these bytes, which have to stay where they are. False for what has another form: nothing is known then. */
bool metadata_table_open(struct metadata_table *table, const uint8_t *file, size_t size);
void metadata_table_close(struct metadata_table *table);
/* NULL when there is none; its bytes are yet to be hashed. */
const uint8_t *metadata_table_find(const struct metadata_table *table, const uint8_t checksum[CHECKSUM_BYTES],
                                   uint32_t *size);
/* Notes one of this run, found in the table or read, unless there is no more room for it. */
void metadata_table_use(struct metadata_table *table, const uint8_t checksum[CHECKSUM_BYTES], const uint8_t *bytes,
                        uint32_t size);
/* How large the file of those of this run is; it is written when it has room. */
uint32_t metadata_table_write(struct metadata_table *table, uint8_t *file, uint32_t room);

#endif
