/* What is looked up by the checksum of an object: the job that it has, and the stamp that it had when it was read. */
#ifndef SEALROOT_OBJECT_TABLES_H
#define SEALROOT_OBJECT_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "stamp.h"

#define CHECKSUM_BYTES 32
#define CHECKSUM_DIGITS (2 * CHECKSUM_BYTES)

#define NO_JOB (-1)

struct object_job {
    uint8_t checksum[CHECKSUM_BYTES];
    int32_t job;
};

/* Jobs of objects. */
struct job_table {
    uint64_t seeds[4];
    struct object_job *jobs;
    uint32_t count, room;
    /* 1 + which of the jobs; 0 where there is none. A power of two of them, at least twice as many as jobs have room. */
    uint32_t *places;
    uint32_t mask;
};

struct known_stamp {
    uint8_t checksum[CHECKSUM_BYTES];
    uint8_t stamp[STAMP_BYTES];
};

/* In so many parts it is known: what an earlier run has left, and what the runs since then have added. */
#define KNOWN_PARTS 2

struct stamp_part {
    /* The caller's, in the order of their checksums, and the number of the first one's entry. */
    const struct known_stamp *stamps;
    uint32_t first;
    /* Where those begin that have the same first two bytes, and at the end their number. */
    uint32_t *starts;
};

struct stamp_table {
    struct stamp_part parts[KNOWN_PARTS];
    uint32_t part_count;
    /* Of all parts; 1 + the job of each of these objects; 0 where there is none. */
    uint32_t count;
    int32_t *jobs;
};

/* False unless these are 64 digits, of lower case, and no more. */
bool read_checksum(uint8_t checksum[CHECKSUM_BYTES], const char *digits);

bool job_table_open(struct job_table *table);
void job_table_close(struct job_table *table);
int32_t job_table_find(const struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES]);
/* The same, which is `job` for a checksum that had none; NO_JOB without memory. */
int32_t job_table_add(struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES], int32_t job);

/*
 * Adds so many in the order of their checksums, which have to stay where they are. Their entries are numbered from those on
 * that are there; of an object that has one already the new one counts. False for more than KNOWN_PARTS, or without memory.
 */
bool stamp_table_add(struct stamp_table *table, const struct known_stamp *stamps, uint32_t count);
void stamp_table_close(struct stamp_table *table);
/* Fetches what looking for these will look at: of a large table, memory that is in no cache of the processor. */
void stamp_table_fetch(const struct stamp_table *table, const uint8_t (*checksums)[CHECKSUM_BYTES], uint32_t count);
/* The number of the entry; -1 for none. */
int32_t stamp_table_find(const struct stamp_table *table, const uint8_t checksum[CHECKSUM_BYTES]);
/* That of the entry, STAMP_BYTES. */
const uint8_t *stamp_table_stamp(const struct stamp_table *table, int32_t entry);
/* The job of that entry's object, which is `job` if it had none. */
int32_t stamp_table_add_job(struct stamp_table *table, int32_t entry, int32_t job);

#endif
