/* What is looked up by the checksum of an object: the job that it has, and the stamp that it had when it was read. */
#ifndef SEALROOT_OBJECT_TABLES_H
#define SEALROOT_OBJECT_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "stamp.h"

#define CHECKSUM_BYTES 32
#define CHECKSUM_DIGITS (2 * CHECKSUM_BYTES)

#define NO_JOB (-1)

/* Jobs count from 0. */
struct job_table {
    uint64_t seeds[4];
    uint8_t (*checksums)[CHECKSUM_BYTES];
    uint32_t count, room;
    /* 1 + the job; 0 where there is none. A power of two of them, at least twice as many as jobs have room. */
    uint32_t *places;
    uint32_t mask;
};

struct known_stamp {
    uint8_t checksum[CHECKSUM_BYTES];
    uint8_t stamp[STAMP_BYTES];
};

struct stamp_table {
    /* In the order of their checksums. */
    struct known_stamp *stamps;
    uint32_t count;
    /* Where those begin that have the same first two bytes, and at the end their number. */
    uint32_t *starts;
};

/* False unless these are 64 digits, of lower case. */
bool read_checksum(uint8_t checksum[CHECKSUM_BYTES], const char digits[CHECKSUM_DIGITS]);

bool job_table_open(struct job_table *table);
void job_table_close(struct job_table *table);
int32_t job_table_find(const struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES]);
/* The same, or the next number for a checksum that has none; NO_JOB without memory. */
int32_t job_table_add(struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES]);

/* Of `count` entries of that size, each of which begins with checksum and stamp; in the order of the checksums. */
bool stamp_table_open(struct stamp_table *table, const uint8_t *entries, uint32_t count, uint32_t entry_bytes);
void stamp_table_close(struct stamp_table *table);
/* The number of the entry; -1 for none. */
int32_t stamp_table_find(const struct stamp_table *table, const uint8_t checksum[CHECKSUM_BYTES]);

#endif
