/* See object-tables.h. */
#include "object-tables.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_ROOM 1024
#define BUCKETS 0x10000

/* Of each character 1 + its value as a digit; 0 for what is none. */
static const uint8_t DIGITS[256] = {
    ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
    ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

/* Without a branch for each digit: they are random, and no processor foresees them. */
bool read_checksum(uint8_t checksum[CHECKSUM_BYTES], const char digits[CHECKSUM_DIGITS])
{
    uint8_t bad = 0;
    for (int i = 0; i < CHECKSUM_BYTES; i++) {
        uint8_t high = DIGITS[(uint8_t)digits[2 * i]] - 1, low = DIGITS[(uint8_t)digits[2 * i + 1]] - 1;
        bad |= high | low;
        checksum[i] = high << 4 | low;
    }
    return bad < 16;
}

static uint64_t folded(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Who makes a commit chooses the checksums in it, but not the seeds. */
static uint32_t place_of(const struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES])
{
    uint64_t words[4];
    memcpy(words, checksum, sizeof(words));
    const uint64_t *seeds = table->seeds;
    return (folded(words[0] ^ seeds[0], words[1] ^ seeds[1]) ^ folded(words[2] ^ seeds[2], words[3] ^ seeds[3])) & table->mask;
}

/* Where the job of this checksum stands, or would stand. */
static uint32_t *find_place(const struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES])
{
    uint32_t at = place_of(table, checksum);
    while (table->places[at] != 0 && memcmp(table->checksums[table->places[at] - 1], checksum, CHECKSUM_BYTES) != 0)
        at = (at + 1) & table->mask;
    return &table->places[at];
}

static bool make_room(struct job_table *table, uint32_t room)
{
    void *checksums = realloc(table->checksums, (size_t)room * CHECKSUM_BYTES);
    if (checksums == NULL)
        return false;
    table->checksums = checksums;
    uint32_t *places = calloc(2 * (size_t)room, sizeof(*places));
    if (places == NULL)
        return false;
    free(table->places);
    table->places = places;
    table->mask = 2 * room - 1;
    table->room = room;
    for (uint32_t job = 0; job < table->count; job++)
        *find_place(table, table->checksums[job]) = job + 1;
    return true;
}

bool job_table_open(struct job_table *table)
{
    return getrandom(table->seeds, sizeof(table->seeds), 0) == sizeof(table->seeds) && make_room(table, FIRST_ROOM);
}

void job_table_close(struct job_table *table)
{
    free(table->checksums);
    free(table->places);
}

int32_t job_table_find(const struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES])
{
    return (int32_t)*find_place(table, checksum) - 1;
}

int32_t job_table_add(struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES])
{
    int32_t known = job_table_find(table, checksum);
    if (known != NO_JOB)
        return known;
    if (table->count == table->room && (table->room > INT32_MAX / 4 || !make_room(table, 2 * table->room)))
        return NO_JOB;
    uint32_t job = table->count++;
    memcpy(table->checksums[job], checksum, CHECKSUM_BYTES);
    *find_place(table, checksum) = job + 1;
    return job;
}

static uint32_t bucket_of(const uint8_t checksum[CHECKSUM_BYTES])
{
    return (uint32_t)checksum[0] << 8 | checksum[1];
}

bool stamp_table_open(struct stamp_table *table, const uint8_t *entries, uint32_t count, uint32_t entry_bytes)
{
    table->stamps = calloc(count == 0 ? 1 : count, sizeof(*table->stamps));
    table->starts = calloc(BUCKETS + 1, sizeof(*table->starts));
    if (table->stamps == NULL || table->starts == NULL)
        return false;
    table->count = count;
    for (uint32_t i = 0; i < count; i++, entries += entry_bytes) {
        memcpy(&table->stamps[i], entries, sizeof(table->stamps[i]));
        table->starts[bucket_of(entries) + 1] = i + 1;
    }
    /* An empty bucket ends where the one before it does. */
    for (uint32_t bucket = 1; bucket <= BUCKETS; bucket++)
        if (table->starts[bucket] < table->starts[bucket - 1])
            table->starts[bucket] = table->starts[bucket - 1];
    return true;
}

void stamp_table_close(struct stamp_table *table)
{
    free(table->stamps);
    free(table->starts);
}

int32_t stamp_table_find(const struct stamp_table *table, const uint8_t checksum[CHECKSUM_BYTES])
{
    uint32_t from = table->starts[bucket_of(checksum)], to = table->starts[bucket_of(checksum) + 1];
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        int order = memcmp(table->stamps[middle].checksum, checksum, CHECKSUM_BYTES);
        if (order == 0)
            return middle;
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return -1;
}
