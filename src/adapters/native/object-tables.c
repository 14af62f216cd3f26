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
bool read_checksum(uint8_t checksum[CHECKSUM_BYTES], const char *digits)
{
    uint8_t bad = 0;
    if (strlen(digits) != CHECKSUM_DIGITS)
        return false;
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
    while (table->places[at] != 0 && memcmp(table->jobs[table->places[at] - 1].checksum, checksum, CHECKSUM_BYTES) != 0)
        at = (at + 1) & table->mask;
    return &table->places[at];
}

static bool make_room(struct job_table *table, uint32_t room)
{
    void *jobs = realloc(table->jobs, room * sizeof(*table->jobs));
    if (jobs == NULL)
        return false;
    table->jobs = jobs;
    uint32_t *places = calloc(2 * (size_t)room, sizeof(*places));
    if (places == NULL)
        return false;
    free(table->places);
    table->places = places;
    table->mask = 2 * room - 1;
    table->room = room;
    for (uint32_t i = 0; i < table->count; i++)
        *find_place(table, table->jobs[i].checksum) = i + 1;
    return true;
}

bool job_table_open(struct job_table *table)
{
    return getrandom(table->seeds, sizeof(table->seeds), 0) == sizeof(table->seeds) && make_room(table, FIRST_ROOM);
}

void job_table_close(struct job_table *table)
{
    free(table->jobs);
    free(table->places);
}

int32_t job_table_find(const struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES])
{
    uint32_t place = *find_place(table, checksum);
    return place == 0 ? NO_JOB : table->jobs[place - 1].job;
}

int32_t job_table_add(struct job_table *table, const uint8_t checksum[CHECKSUM_BYTES], int32_t job)
{
    int32_t known = job_table_find(table, checksum);
    if (known != NO_JOB)
        return known;
    if (table->count == table->room && (table->room > INT32_MAX / 4 || !make_room(table, 2 * table->room)))
        return NO_JOB;
    struct object_job *added = &table->jobs[table->count++];
    memcpy(added->checksum, checksum, CHECKSUM_BYTES);
    added->job = job;
    *find_place(table, checksum) = table->count;
    return job;
}

static uint32_t bucket_of(const uint8_t checksum[CHECKSUM_BYTES])
{
    return (uint32_t)checksum[0] << 8 | checksum[1];
}

bool stamp_table_add(struct stamp_table *table, const struct known_stamp *stamps, uint32_t count)
{
    if (count == 0)
        return true;
    if (table->part_count == KNOWN_PARTS || count > (uint32_t)INT32_MAX - table->count)
        return false;
    int32_t *jobs = realloc(table->jobs, (table->count + count) * sizeof(*jobs));
    if (jobs == NULL)
        return false;
    table->jobs = jobs;
    uint32_t *starts = calloc(BUCKETS + 1, sizeof(*starts));
    if (starts == NULL)
        return false;
    memset(jobs + table->count, 0, count * sizeof(*jobs));
    for (uint32_t i = 0; i < count; i++)
        starts[bucket_of(stamps[i].checksum) + 1] = i + 1;
    /* An empty bucket ends where the one before it does. */
    for (uint32_t bucket = 1; bucket <= BUCKETS; bucket++)
        if (starts[bucket] < starts[bucket - 1])
            starts[bucket] = starts[bucket - 1];
    table->parts[table->part_count++] = (struct stamp_part){ stamps, table->count, starts };
    table->count += count;
    return true;
}

void stamp_table_close(struct stamp_table *table)
{
    free(table->jobs);
    for (uint32_t i = 0; i < table->part_count; i++)
        free(table->parts[i].starts);
}

static void fetch_from(const struct stamp_part *part, const uint8_t (*checksums)[CHECKSUM_BYTES], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        __builtin_prefetch(&part->starts[bucket_of(checksums[i])]);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t *starts = part->starts + bucket_of(checksums[i]);
        if (starts[0] == starts[1])
            continue;
        const struct known_stamp *first = part->stamps + starts[0];
        __builtin_prefetch(first);
        __builtin_prefetch(&first->stamp[STAMP_BYTES - 1]);
    }
}

void stamp_table_fetch(const struct stamp_table *table, const uint8_t (*checksums)[CHECKSUM_BYTES], uint32_t count)
{
    for (uint32_t i = 0; i < table->part_count; i++)
        fetch_from(&table->parts[i], checksums, count);
}

static int32_t find_in(const struct stamp_part *part, const uint8_t checksum[CHECKSUM_BYTES])
{
    uint32_t from = part->starts[bucket_of(checksum)], to = part->starts[bucket_of(checksum) + 1];
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        int order = memcmp(part->stamps[middle].checksum, checksum, CHECKSUM_BYTES);
        if (order == 0)
            return part->first + middle;
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return -1;
}

int32_t stamp_table_find(const struct stamp_table *table, const uint8_t checksum[CHECKSUM_BYTES])
{
    int32_t entry = -1;
    for (uint32_t i = table->part_count; entry < 0 && i > 0; i--)
        entry = find_in(&table->parts[i - 1], checksum);
    return entry;
}

const uint8_t *stamp_table_stamp(const struct stamp_table *table, int32_t entry)
{
    const struct stamp_part *part = &table->parts[table->part_count - 1];
    while ((uint32_t)entry < part->first)
        part--;
    return part->stamps[entry - part->first].stamp;
}

int32_t stamp_table_add_job(struct stamp_table *table, int32_t entry, int32_t job)
{
    if (table->jobs[entry] == 0)
        table->jobs[entry] = job + 1;
    return table->jobs[entry] - 1;
}
