/*
 * Threads that read files and compute their fs-verity digests, for adapters/file-ring.ts: opening, reading and hashing
 * twenty thousand files is most of what an image costs, and in a thread of JavaScript half of it again is JavaScript.
 * No policy, no parsing and no messages here: what does not go as usual is a failed job, which the caller does himself
 * and gets the error from.
 *
 * The layout of the memory that both sides see stands in file-ring.ts, too. Numbers are in the machine's byte order.
 */
#include <dlfcn.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fsverity.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zlib.h>

#include "metadata-table.h"
#include "object-tables.h"
#include "sha256-lanes.h"
#include "stamp.h"
#include "xattrs.h"

enum { PENDING, DONE, FAILED };
enum { HAS_TARGET = 1, HAS_TREE = 2, HAS_STAMP = 4, IS_UNCHANGED = 8, HAS_XATTRS = 16 };
/* Of the stamp of an object's inode: nothing; it comes with the object; an object that still has it is not read. */
enum { NO_STAMP, TAKE_STAMP, COMPARE_STAMP };
/* What the names of jobs are, see FILE_SOURCES. */
enum { BARE, BARE_USER, BARE_USER_ONLY, BARE_WITHOUT_XATTRS, ARCHIVE, STAMPED, STAMPED_WITH_XATTRS };
enum { NO_DIGESTS, COMPUTE, MEASURE_FIRST };

#define BLOCK_SIZE SHA256_LANE_BYTES
#define TREE_UNIT 32
#define MAX_DIGEST 64
/* With more of them the disk is what everybody waits for. */
#define MAX_THREADS 8
/* Stays in the second-level cache: larger ones are slower. */
#define READ_BYTES (128 * 1024)
#define DEFLATED_BYTES (32 * 1024)
#define MAX_LEVELS 8
/* "xx/62 digits.dirtree" */
#define OBJECT_PATH_BYTES 80
/* A file of a directory that is no longer than that is itself what is asked for. */
#define MAX_INLINE_BYTES 64
/* Of a metadata object that is read here. */
#define METADATA_BYTES (64 * 1024)
/* Objects that one call announces. */
#define MAX_ANNOUNCED 256
/* To wake a thread takes as long as to announce that many, and it has done them before the next ones are there. */
#define JOBS_PER_WAKE 64

struct head {
    _Atomic uint32_t published, taken, idle, trees_end;
    uint8_t reserved[48];
};

struct slot {
    _Atomic uint32_t state;
    uint32_t mode, uid, gid;
    uint64_t size;
    uint32_t flags;
    union {
        /* In units of TREE_UNIT from the start of the trees; root hash, then blocks. */
        uint32_t tree;
        /* Of an object that is not read: the number of the entry that its stamp comes from. */
        uint32_t entry;
    };
    uint32_t tree_bytes;
    uint16_t attributes_bytes, target_bytes;
    uint8_t digest[MAX_DIGEST];
    uint16_t digest_bytes, stamping;
    /* See InodeStatus in inode-status.ts. */
    uint8_t stamp[STAMP_BYTES];
    /* The checksum of an object, or a path: longer ones are rare, and left to the caller. */
    char name[492];
    /* Attributes, then the target. Of a path: content, if it is short, then the xattrs, which `target_bytes` counts. */
    uint8_t variable[376];
};

/* What is announced by one call: where the checksums begin in the bytes that come with it, and the jobs that they have then. */
struct announced {
    uint32_t places[MAX_ANNOUNCED];
    int32_t jobs[MAX_ANNOUNCED];
};

_Static_assert(sizeof(struct head) == 64, "as in file-ring.ts");
_Static_assert(sizeof(struct announced) == 2048, "as in file-ring.ts");
_Static_assert(sizeof(struct slot) == 1024, "as in file-ring.ts");

struct hash {
    int (*init)(void *);
    int (*update)(void *, const void *, size_t);
    int (*final)(unsigned char *, void *);
    uint8_t id;
    uint32_t size;
    bool has_lanes;
};

struct reader {
    struct head *head;
    struct slot *slots;
    uint8_t *metadata;
    struct announced *announced;
    uint8_t *trees;
    uint64_t tree_bytes;
    uint32_t slot_count;
    uint32_t source, digests;
    bool keep_trees;
    /* Of files, and of objects. */
    struct hash hash, sha256;
    int folder;
    char *prefix;
    /* The calling thread's, then those of the threads. */
    struct worker *workers[1 + MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    int thread_count;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    bool closed;
    _Atomic bool awaited;
    /* Of objects, for the calling thread only: how many jobs there are, those of what is known, and all others. */
    uint32_t job_count;
    struct job_table jobs;
    bool keeps_known;
    struct stamp_table stamps;
    struct metadata_table metadata_table;
    uint32_t woken;
};

/* Of one thread. */
struct worker {
    struct reader *reader;
    /* Of OpenSSL's SHA256_CTX and SHA512_CTX, which have 112 and 216 bytes. */
    uint64_t context[64];
    uint8_t input[READ_BYTES];
    uint8_t deflated[DEFLATED_BYTES];
    uint8_t *scratch;
    uint64_t scratch_bytes;
};

static void hash_with(const struct hash *with, struct worker *worker, const void *bytes, size_t size, uint8_t *digest)
{
    with->init(worker->context);
    with->update(worker->context, bytes, size);
    with->final(digest, worker->context);
}

static void hash(struct worker *worker, const void *bytes, size_t size, uint8_t *digest)
{
    hash_with(&worker->reader->hash, worker, bytes, size, digest);
}

/* So many take as long one by one as all lanes do. */
#define LEAST_IN_LANES 9

/* Whole blocks, one after the other, to as many digests. */
static void hash_blocks(struct worker *worker, const uint8_t *blocks, size_t count, uint8_t *digests)
{
    const struct hash *with = &worker->reader->hash;
    while (count > 0) {
        size_t now = with->has_lanes && count >= LEAST_IN_LANES ? (count < SHA256_LANES ? count : SHA256_LANES) : 1;
        if (now == 1)
            hash(worker, blocks, BLOCK_SIZE, digests);
        else
            sha256_in_lanes(blocks, now, digests);
        blocks += now * BLOCK_SIZE;
        digests += now * with->size;
        count -= now;
    }
}

struct tree {
    /* Of the hash blocks of a file: where each level begins, leaves first, and how many hashes it has. */
    uint64_t at[MAX_LEVELS + 1], count[MAX_LEVELS + 1], bytes;
    int levels;
};

static uint64_t whole_blocks(uint64_t bytes)
{
    return (bytes + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

/* The root's level comes first, as ext4 stores it. */
static struct tree plan_tree(uint64_t size, uint32_t digest_bytes)
{
    struct tree tree = { .levels = 0, .bytes = 0 };
    uint64_t count = whole_blocks(size) / BLOCK_SIZE;
    for (; count > 1 && tree.levels < MAX_LEVELS; tree.levels++) {
        tree.count[tree.levels] = count;
        count = whole_blocks(count * digest_bytes) / BLOCK_SIZE;
    }
    for (int level = tree.levels - 1; level >= 0; level--) {
        tree.at[level] = tree.bytes;
        tree.bytes += whole_blocks(tree.count[level] * digest_bytes);
    }
    return tree;
}

static bool read_exactly(int fd, uint8_t *out, size_t wanted)
{
    for (size_t have = 0; have < wanted;) {
        ssize_t count = read(fd, out + have, wanted - have);
        if (count <= 0)
            return false;
        have += count;
    }
    return true;
}

/* Content that lies in a file as it is, or, with a stream, deflated; or in memory. */
struct content {
    int fd;
    z_stream *stream;
    const uint8_t *bytes;
};

/* The next bytes; false when there are fewer, or the stream is broken. */
static bool read_content(struct worker *worker, struct content *content, uint8_t *out, size_t wanted)
{
    if (content->bytes != NULL) {
        memcpy(out, content->bytes, wanted);
        content->bytes += wanted;
        return true;
    }
    if (content->stream == NULL)
        return read_exactly(content->fd, out, wanted);
    z_stream *stream = content->stream;
    stream->next_out = out;
    stream->avail_out = wanted;
    while (stream->avail_out > 0) {
        /* Without input, too: the stream may hold output that had no room before. */
        int result = inflate(stream, Z_NO_FLUSH);
        if (stream->avail_out == 0)
            return result == Z_OK || result == Z_STREAM_END;
        if ((result != Z_OK && result != Z_BUF_ERROR) || stream->avail_in > 0)
            return false;
        ssize_t count = read(content->fd, worker->deflated, DEFLATED_BYTES);
        if (count <= 0)
            return false;
        stream->next_in = worker->deflated;
        stream->avail_in = count;
    }
    return true;
}

/* Hashes what is next into the leaves, or into the root when there is but one block. */
static bool hash_content(struct worker *worker, struct content *content, uint64_t size, uint8_t *hashes)
{
    for (uint64_t at = 0; at < size; at += READ_BYTES) {
        size_t wanted = size - at < READ_BYTES ? size - at : READ_BYTES;
        if (!read_content(worker, content, worker->input, wanted))
            return false;
        size_t blocks = whole_blocks(wanted) / BLOCK_SIZE;
        memset(worker->input + wanted, 0, blocks * BLOCK_SIZE - wanted);
        hash_blocks(worker, worker->input, blocks, hashes);
        hashes += blocks * worker->reader->hash.size;
    }
    return true;
}

/* Where the root hash and the blocks of a tree go; NULL when there is no room. */
static uint8_t *place_tree(struct worker *worker, struct slot *slot, uint64_t bytes)
{
    struct reader *reader = worker->reader;
    uint64_t wanted = (MAX_DIGEST + bytes + TREE_UNIT - 1) / TREE_UNIT;
    if (reader->keep_trees) {
        if (wanted > UINT32_MAX / 2)
            return NULL;
        uint32_t unit = atomic_fetch_add(&reader->head->trees_end, wanted);
        if ((unit + wanted) * TREE_UNIT > reader->tree_bytes)
            return NULL;
        slot->tree = unit;
        slot->tree_bytes = bytes;
        slot->flags |= HAS_TREE;
        return reader->trees + (uint64_t)unit * TREE_UNIT;
    }
    if (worker->scratch_bytes < wanted * TREE_UNIT) {
        free(worker->scratch);
        worker->scratch = malloc(wanted * TREE_UNIT);
        worker->scratch_bytes = worker->scratch == NULL ? 0 : wanted * TREE_UNIT;
    }
    return worker->scratch;
}

static bool compute_digest(struct worker *worker, struct slot *slot, struct content *content, uint64_t size)
{
    const struct hash *with = &worker->reader->hash;
    struct tree tree = plan_tree(size, with->size);
    uint8_t *root = place_tree(worker, slot, tree.bytes);
    if (root == NULL)
        return false;
    uint8_t *blocks = root + MAX_DIGEST;
    memset(root, 0, MAX_DIGEST + tree.bytes);
    if (!hash_content(worker, content, size, tree.levels == 0 ? root : blocks + tree.at[0]))
        return false;
    for (int level = 0; level < tree.levels; level++) {
        uint8_t *above = level + 1 < tree.levels ? blocks + tree.at[level + 1] : root;
        uint64_t count = whole_blocks(tree.count[level] * with->size) / BLOCK_SIZE;
        hash_blocks(worker, blocks + tree.at[level], count, above);
    }
    struct fsverity_descriptor descriptor = {
        .version = 1, .hash_algorithm = with->id, .log_blocksize = 12, .data_size = htole64(size)
    };
    memcpy(descriptor.root_hash, root, with->size);
    hash(worker, &descriptor, sizeof(descriptor), slot->digest);
    slot->digest_bytes = with->size;
    return true;
}

/* What the kernel enforces. Leaves `slot` without digest when it enforces nothing; false when it is of another kind. */
static bool measure_digest(struct worker *worker, struct slot *slot, int fd)
{
    struct {
        struct fsverity_digest head;
        uint8_t bytes[MAX_DIGEST];
    } found = { .head.digest_size = MAX_DIGEST };
    if (ioctl(fd, FS_IOC_MEASURE_VERITY, &found) != 0)
        return errno == ENODATA || errno == ENOTTY || errno == EOPNOTSUPP;
    const struct hash *with = &worker->reader->hash;
    if (found.head.digest_algorithm != with->id || found.head.digest_size != with->size)
        return false;
    memcpy(slot->digest, found.bytes, with->size);
    slot->digest_bytes = with->size;
    return true;
}

static bool add_digest(struct worker *worker, struct slot *slot, int fd)
{
    uint32_t digests = worker->reader->digests;
    if (slot->size == 0 || digests == NO_DIGESTS)
        return true;
    if (digests == MEASURE_FIRST && !measure_digest(worker, slot, fd))
        return false;
    struct content content = { .fd = fd };
    return slot->digest_bytes > 0 || compute_digest(worker, slot, &content, slot->size);
}

static void note_status(struct slot *slot, const struct stat *status)
{
    slot->mode = status->st_mode;
    slot->uid = status->st_uid;
    slot->gid = status->st_gid;
    slot->size = status->st_size;
}

static bool add_xattrs(struct slot *slot, int fd, const char *path)
{
    ssize_t bytes = put_xattrs(slot->variable, sizeof(slot->variable), fd, path);
    slot->attributes_bytes = bytes < 0 ? 0 : bytes;
    return bytes >= 0;
}

/* bare-user keeps owner, mode and xattrs of a file in one xattr, and the target of a link as content. */
static bool read_bare_user(struct worker *worker, struct slot *slot, int fd)
{
    ssize_t size = fgetxattr(fd, "user.ostreemeta", slot->variable, sizeof(slot->variable));
    /* (uuua(ayay)): the mode is the third number, big endian. */
    if (size < 12)
        return false;
    slot->attributes_bytes = size;
    uint32_t mode = (uint32_t)slot->variable[10] << 8 | slot->variable[11];
    if (!S_ISLNK(mode))
        return add_digest(worker, slot, fd);
    uint8_t *target = slot->variable + size;
    if (slot->size > sizeof(slot->variable) - size || !read_exactly(fd, target, slot->size))
        return false;
    uint8_t *nul = memchr(target, 0, slot->size);
    slot->target_bytes = nul == NULL ? slot->size : (uint64_t)(nul - target);
    slot->flags |= HAS_TARGET;
    return true;
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Length and zeros, four bytes each, a header (tuuuusa(ayay)) in big endian, and then the deflated content. */
static bool read_archive(struct worker *worker, struct slot *slot, int fd)
{
    uint8_t *header = slot->variable + 8;
    if (!read_exactly(fd, slot->variable, 8))
        return false;
    uint32_t length = big_endian(slot->variable);
    if (length < 24 || length > sizeof(slot->variable) - 8 || !read_exactly(fd, header, length))
        return false;
    slot->attributes_bytes = 8 + length;
    uint64_t size = (uint64_t)big_endian(header) << 32 | big_endian(header + 4);
    if (S_ISLNK(big_endian(header + 16)) || size == 0 || worker->reader->digests == NO_DIGESTS)
        return true;
    z_stream stream = { 0 };
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
        return false;
    struct content content = { .fd = fd, .stream = &stream };
    uint8_t more;
    bool done = compute_digest(worker, slot, &content, size) && !read_content(worker, &content, &more, 1) &&
                inflate(&stream, Z_FINISH) == Z_STREAM_END;
    inflateEnd(&stream);
    return done;
}

/* A repository of one of the other modes stores links as what they are. */
static bool read_link(struct reader *reader, struct slot *slot, const char *object)
{
    struct stat status;
    char path[4096];
    bool stores_links = reader->source != BARE_USER && reader->source != ARCHIVE;
    if (!stores_links || fstatat(reader->folder, object, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    note_status(slot, &status);
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", reader->prefix, object) >= sizeof(path))
        return false;
    if (reader->source == BARE && !add_xattrs(slot, -1, path))
        return false;
    size_t room = sizeof(slot->variable) - slot->attributes_bytes;
    ssize_t size = readlinkat(reader->folder, object, (char *)slot->variable + slot->attributes_bytes, room);
    if (size < 0 || (size_t)size == room)
        return false;
    slot->target_bytes = size;
    slot->flags |= HAS_TARGET;
    return true;
}

/* Of a path below `folder`, whose last component is not followed, or with an empty one of `folder` itself. */
static bool take_stamp(int folder, const char *path, uint8_t stamp[STAMP_BYTES])
{
    struct statx status;
    int flags = *path == '\0' ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
    if (statx(folder, path, flags, STATX_BASIC_STATS, &status) != 0)
        return false;
    put_stamp(stamp, &status);
    return true;
}

static bool has_stamp(int folder, const char *path, const uint8_t stamp[STAMP_BYTES])
{
    uint8_t now[STAMP_BYTES];
    return take_stamp(folder, path, now) && memcmp(now, stamp, STAMP_BYTES) == 0;
}

static bool read_file(struct worker *worker, struct slot *slot, int fd)
{
    if (slot->size > MAX_INLINE_BYTES)
        return add_digest(worker, slot, fd);
    slot->attributes_bytes = slot->size;
    return read_exactly(fd, slot->variable, slot->size);
}

/* Those that are too many are left to the caller, and the rest is not read again for their sake. */
static void add_xattrs_of_file(struct slot *slot, int fd)
{
    size_t content = slot->attributes_bytes;
    ssize_t bytes = put_xattrs(slot->variable + content, sizeof(slot->variable) - content, fd, NULL);
    if (bytes < 0)
        return;
    slot->target_bytes = bytes;
    slot->flags |= HAS_XATTRS;
}

static bool read_opened(struct worker *worker, struct slot *slot, int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return false;
    note_status(slot, &status);
    switch (worker->reader->source) {
    case STAMPED:
    case STAMPED_WITH_XATTRS:
        if (!read_file(worker, slot, fd))
            return false;
        if (worker->reader->source == STAMPED_WITH_XATTRS)
            add_xattrs_of_file(slot, fd);
        /* It has to be, to the end, what it was when the stamp was taken. */
        return has_stamp(fd, "", slot->stamp);
    case ARCHIVE:
        return read_archive(worker, slot, fd);
    case BARE_USER:
        return read_bare_user(worker, slot, fd);
    case BARE:
        return add_xattrs(slot, fd, NULL) && add_digest(worker, slot, fd);
    default:
        return add_digest(worker, slot, fd);
    }
}

#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)

static bool read_path(struct worker *worker, struct slot *slot)
{
    int fd = open(slot->name, OPEN_FLAGS);
    bool done = fd >= 0 && read_opened(worker, slot, fd);
    if (fd >= 0)
        close(fd);
    return done;
}

/* Where an object is below the folder; false for a long extension. */
static bool object_path(char path[OBJECT_PATH_BYTES], const uint8_t checksum[CHECKSUM_BYTES], const char *extension)
{
    char digits[CHECKSUM_DIGITS + 1] = "";
    for (int i = 0; i < CHECKSUM_BYTES; i++) {
        digits[2 * i] = "0123456789abcdef"[checksum[i] >> 4];
        digits[2 * i + 1] = "0123456789abcdef"[checksum[i] & 15];
    }
    return snprintf(path, OBJECT_PATH_BYTES, "%.2s/%s.%s", digits, digits + 2, extension) < OBJECT_PATH_BYTES;
}

static bool read_object_at(struct worker *worker, struct slot *slot, const char *object)
{
    int fd = openat(worker->reader->folder, object, OPEN_FLAGS);
    if (fd < 0)
        return read_link(worker->reader, slot, object);
    bool done = read_opened(worker, slot, fd);
    close(fd);
    return done;
}

static bool read_object(struct worker *worker, struct slot *slot)
{
    int folder = worker->reader->folder;
    char object[OBJECT_PATH_BYTES];
    uint8_t stamp[STAMP_BYTES];
    if (!object_path(object, (const uint8_t *)slot->name, worker->reader->source == ARCHIVE ? "filez" : "file"))
        return false;
    if (slot->stamping == NO_STAMP)
        return read_object_at(worker, slot, object);
    if (!take_stamp(folder, object, stamp))
        return false;
    if (slot->stamping == COMPARE_STAMP && memcmp(stamp, slot->stamp, STAMP_BYTES) == 0) {
        slot->flags |= IS_UNCHANGED;
        return true;
    }
    if (!read_object_at(worker, slot, object))
        return false;
    /* Of what has changed meanwhile nobody knows which stamp belongs to it. */
    if (has_stamp(folder, object, stamp)) {
        memcpy(slot->stamp, stamp, STAMP_BYTES);
        slot->flags |= HAS_STAMP;
    }
    return true;
}

static void do_job(struct worker *worker, uint32_t job)
{
    struct reader *reader = worker->reader;
    struct slot *slot = &reader->slots[job % reader->slot_count];
    slot->flags = slot->attributes_bytes = slot->target_bytes = slot->digest_bytes = 0;
    bool done = reader->source >= STAMPED ? read_path(worker, slot) : read_object(worker, slot);
    atomic_store(&slot->state, done ? DONE : FAILED);
    if (atomic_load(&reader->awaited)) {
        pthread_mutex_lock(&reader->lock);
        pthread_cond_broadcast(&reader->done);
        pthread_mutex_unlock(&reader->lock);
    }
}

/* The next job that nobody has; -1 when there is none now. */
static int64_t take(struct reader *reader)
{
    uint32_t job = atomic_load(&reader->head->taken);
    do {
        if (job == atomic_load(&reader->head->published))
            return -1;
    } while (!atomic_compare_exchange_weak(&reader->head->taken, &job, job + 1));
    return job;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct reader *reader = worker->reader;
    for (;;) {
        int64_t job = take(reader);
        if (job >= 0) {
            do_job(worker, job);
            continue;
        }
        pthread_mutex_lock(&reader->lock);
        /* Who publishes looks at this number afterwards, and then needs the lock to wake anybody. */
        atomic_fetch_add(&reader->head->idle, 1);
        while (!reader->closed && (job = take(reader)) < 0)
            pthread_cond_wait(&reader->work, &reader->lock);
        atomic_fetch_sub(&reader->head->idle, 1);
        bool closed = reader->closed;
        pthread_mutex_unlock(&reader->lock);
        if (closed)
            return NULL;
        do_job(worker, job);
    }
}

static struct worker *new_worker(struct reader *reader)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker != NULL)
        worker->reader = reader;
    return worker;
}

/* A commit is to be where it is looked for: without it a repository has not got the others, whatever is known of them. */
static bool is_kept(const char *type)
{
    return strcmp(type, "commit") != 0;
}

/* The same as read_metadata, of one that an earlier run has read. */
static int32_t known_metadata(struct reader *reader, const uint8_t checksum[CHECKSUM_BYTES], const char *type)
{
    uint8_t digest[CHECKSUM_BYTES];
    uint32_t size;
    if (!is_kept(type))
        return -1;
    const uint8_t *bytes = metadata_table_find(&reader->metadata_table, checksum, &size);
    if (bytes == NULL || size > METADATA_BYTES)
        return -1;
    hash_with(&reader->sha256, reader->workers[0], bytes, size, digest);
    if (memcmp(digest, checksum, CHECKSUM_BYTES) != 0)
        return -1;
    memcpy(reader->metadata, bytes, size);
    metadata_table_use(&reader->metadata_table, checksum, bytes, size);
    return size;
}

static int32_t read_metadata(struct reader *reader, const uint8_t checksum[CHECKSUM_BYTES], const char *type)
{
    char object[OBJECT_PATH_BYTES];
    struct stat status;
    uint8_t digest[CHECKSUM_BYTES], *out = reader->metadata;
    int fd = object_path(object, checksum, type) ? openat(reader->folder, object, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd < 0)
        return -1;
    bool done = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size <= METADATA_BYTES &&
                read_exactly(fd, out, status.st_size);
    close(fd);
    if (!done)
        return -1;
    hash_with(&reader->sha256, reader->workers[0], out, status.st_size, digest);
    if (memcmp(digest, checksum, CHECKSUM_BYTES) != 0)
        return -1;
    if (reader->keeps_known && is_kept(type))
        metadata_table_use(&reader->metadata_table, checksum, out, status.st_size);
    return status.st_size;
}

/*
 * Reads a metadata object into the memory for those. Its size; -1 for what is missing, long, no regular file, or not of
 * that checksum, which the caller has to find out himself.
 */
int32_t reader_metadata(struct reader *reader, const char *digits, const char *type)
{
    uint8_t checksum[CHECKSUM_BYTES];
    if (!read_checksum(checksum, digits))
        return -1;
    int32_t known = known_metadata(reader, checksum, type);
    return known >= 0 ? known : read_metadata(reader, checksum, type);
}

static bool find_hash(struct hash *out, int algorithm)
{
    /* node has OpenSSL in it, or is linked with it. */
    const char *family = algorithm == FS_VERITY_HASH_ALG_SHA512 ? "SHA512" : "SHA256";
    void **functions[] = { (void **)&out->init, (void **)&out->update, (void **)&out->final };
    const char *const names[] = { "Init", "Update", "Final" };
    char symbol[32];
    for (int i = 0; i < 3; i++) {
        snprintf(symbol, sizeof(symbol), "%s_%s", family, names[i]);
        *functions[i] = dlsym(RTLD_DEFAULT, symbol);
        if (*functions[i] == NULL)
            return false;
    }
    out->id = algorithm;
    out->size = algorithm == FS_VERITY_HASH_ALG_SHA512 ? 64 : 32;
    out->has_lanes = algorithm == FS_VERITY_HASH_ALG_SHA256 && sha256_has_lanes();
    return true;
}

struct reader *reader_open(const char *prefix, uint32_t source, uint32_t digests, int algorithm, int keep_trees)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return NULL;
    reader->source = source;
    reader->digests = digests;
    reader->keep_trees = keep_trees != 0;
    /* For the first job, too. */
    reader->woken = -JOBS_PER_WAKE;
    reader->prefix = strdup(prefix);
    reader->folder = *prefix == '\0' ? AT_FDCWD : open(prefix, O_PATH | O_DIRECTORY | O_CLOEXEC);
    reader->workers[0] = new_worker(reader);
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->work, NULL);
    pthread_cond_init(&reader->done, NULL);
    bool ready = job_table_open(&reader->jobs) && find_hash(&reader->hash, algorithm) &&
                 find_hash(&reader->sha256, FS_VERITY_HASH_ALG_SHA256) && reader->prefix != NULL &&
                 reader->workers[0] != NULL && (reader->folder >= 0 || reader->folder == AT_FDCWD);
    return ready ? reader : NULL;
}

/* The memory of the ring, which is never given back: results are views of it. NULL when there is none. */
void *reader_memory(struct reader *reader, uint32_t slot_count, uint64_t tree_bytes)
{
    size_t before_slots = sizeof(struct head) + METADATA_BYTES + sizeof(struct announced);
    size_t head_bytes = before_slots + (size_t)slot_count * sizeof(struct slot);
    uint8_t *memory = mmap(NULL, head_bytes + tree_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    reader->head = (struct head *)memory;
    reader->metadata = memory + sizeof(struct head);
    reader->announced = (struct announced *)(reader->metadata + METADATA_BYTES);
    reader->slots = (struct slot *)(memory + before_slots);
    reader->trees = memory + head_bytes;
    reader->tree_bytes = tree_bytes;
    reader->slot_count = slot_count;
    return memory;
}

/* As many as can be had: without any, reader_finish does everything. */
void reader_start(struct reader *reader, int threads)
{
    while (reader->thread_count < threads && reader->thread_count < MAX_THREADS) {
        struct worker *worker = new_worker(reader);
        reader->workers[1 + reader->thread_count] = worker;
        if (worker == NULL || pthread_create(&reader->threads[reader->thread_count], NULL, work, worker) != 0)
            return;
        reader->thread_count++;
    }
}

/*
 * From now on every file object comes with its stamp, unless it has the one that it has among these; dirtrees and dirmetas
 * are taken from this file of them, where it has them, and noted. Both have to stay where they are. To be called a second
 * time for what was added later. False without memory.
 */
bool reader_expect(struct reader *reader, const struct known_stamp *stamps, uint32_t count, const uint8_t *metadata,
                   uint64_t metadata_bytes)
{
    reader->keeps_known = true;
    metadata_table_add(&reader->metadata_table, metadata, metadata_bytes);
    return stamp_table_add(&reader->stamps, stamps, count);
}

/* See metadata_table_write. */
uint32_t reader_used_metadata(struct reader *reader, uint32_t first, uint8_t *file, uint32_t room)
{
    return metadata_table_write(&reader->metadata_table, first, file, room);
}

/* Which of the known objects it is; -1 for another. */
static int32_t known_entry(const struct reader *reader, const uint8_t checksum[CHECKSUM_BYTES])
{
    return stamp_table_find(&reader->stamps, checksum);
}

static void publish_object(struct reader *reader, uint32_t job, const uint8_t *checksum, int32_t entry)
{
    struct slot *slot = &reader->slots[job % reader->slot_count];
    memcpy(slot->name, checksum, CHECKSUM_BYTES);
    slot->stamping = !reader->keeps_known ? NO_STAMP : entry < 0 ? TAKE_STAMP : COMPARE_STAMP;
    if (entry >= 0) {
        slot->entry = entry;
        memcpy(slot->stamp, stamp_table_stamp(&reader->stamps, entry), STAMP_BYTES);
    }
    atomic_store(&slot->state, PENDING);
    /* Nobody looks at the slot before. */
    atomic_store(&reader->head->published, job + 1);
}

static int32_t announce(struct reader *reader, const uint8_t checksum[CHECKSUM_BYTES])
{
    int32_t entry = known_entry(reader, checksum);
    int32_t next = reader->job_count;
    int32_t job = entry < 0 ? job_table_add(&reader->jobs, checksum, next) : stamp_table_add_job(&reader->stamps, entry, next);
    if (job == next) {
        reader->job_count++;
        publish_object(reader, job, checksum, entry);
    }
    return job;
}

/* For who has published jobs and sees a thread idle. */
void reader_wake(struct reader *reader)
{
    pthread_mutex_lock(&reader->lock);
    pthread_cond_broadcast(&reader->work);
    pthread_mutex_unlock(&reader->lock);
}

/*
 * Publishes those of the objects that were not published before. Their checksums begin at the places that stand in the memory
 * for them, and the jobs of all come beside these: NO_JOB without memory. As many slots have to be free.
 */
void reader_announce(struct reader *reader, const uint8_t *bytes, uint32_t count)
{
    struct announced *announced = reader->announced;
    uint8_t checksums[MAX_ANNOUNCED][CHECKSUM_BYTES];
    for (uint32_t i = 0; i < count; i++)
        memcpy(checksums[i], bytes + announced->places[i], CHECKSUM_BYTES);
    stamp_table_fetch(&reader->stamps, checksums, count);
    for (uint32_t i = 0; i < count; i++)
        announced->jobs[i] = announce(reader, checksums[i]);
    if (reader->job_count - reader->woken < JOBS_PER_WAKE)
        return;
    reader->woken = reader->job_count;
    if (atomic_load(&reader->head->idle) > 0)
        reader_wake(reader);
}

/* The job that an object has; NO_JOB if it was not announced. */
int32_t reader_job(struct reader *reader, const char *digits)
{
    uint8_t checksum[CHECKSUM_BYTES];
    if (!read_checksum(checksum, digits))
        return NO_JOB;
    int32_t entry = known_entry(reader, checksum);
    return entry < 0 ? job_table_find(&reader->jobs, checksum) : reader->stamps.jobs[entry] - 1;
}

/* Returns when the job is done, and does jobs meanwhile. */
void reader_finish(struct reader *reader, uint32_t wanted)
{
    struct slot *slot = &reader->slots[wanted % reader->slot_count];
    if (atomic_load(&reader->head->idle) > 0)
        reader_wake(reader);
    while (atomic_load(&slot->state) == PENDING) {
        int64_t job = take(reader);
        if (job >= 0) {
            do_job(reader->workers[0], job);
            continue;
        }
        pthread_mutex_lock(&reader->lock);
        atomic_store(&reader->awaited, true);
        while (atomic_load(&slot->state) == PENDING)
            pthread_cond_wait(&reader->done, &reader->lock);
        atomic_store(&reader->awaited, false);
        pthread_mutex_unlock(&reader->lock);
    }
}

/* Ends the threads, each after the job that it has. */
void reader_close(struct reader *reader)
{
    pthread_mutex_lock(&reader->lock);
    reader->closed = true;
    pthread_cond_broadcast(&reader->work);
    pthread_mutex_unlock(&reader->lock);
    for (int i = 0; i < reader->thread_count; i++)
        pthread_join(reader->threads[i], NULL);
    for (int i = 0; i <= MAX_THREADS && reader->workers[i] != NULL; i++) {
        free(reader->workers[i]->scratch);
        free(reader->workers[i]);
    }
    if (reader->folder >= 0)
        close(reader->folder);
    job_table_close(&reader->jobs);
    stamp_table_close(&reader->stamps);
    metadata_table_close(&reader->metadata_table);
    free(reader->prefix);
    free(reader);
}

/* The digest that the kernel would measure of a file with these bytes. 0, or -1 when it cannot be computed here. */
int32_t verity_of_bytes(const uint8_t *bytes, uint64_t size, int algorithm, uint8_t digest[MAX_DIGEST])
{
    struct reader reader = { .keep_trees = false };
    struct content content = { .bytes = bytes };
    struct slot slot = { .digest_bytes = 0 };
    struct worker *worker = find_hash(&reader.hash, algorithm) ? new_worker(&reader) : NULL;
    bool done = worker != NULL && compute_digest(worker, &slot, &content, size);
    memcpy(digest, slot.digest, slot.digest_bytes);
    if (worker != NULL)
        free(worker->scratch);
    free(worker);
    return done ? 0 : -1;
}

/* 0, or -1 when it cannot be computed here. */
int32_t sha256_of_bytes(const uint8_t *bytes, uint64_t size, uint8_t digest[CHECKSUM_BYTES])
{
    struct hash sha256;
    uint64_t context[64];
    if (!find_hash(&sha256, FS_VERITY_HASH_ALG_SHA256))
        return -1;
    sha256.init(context);
    sha256.update(context, bytes, size);
    sha256.final(digest, context);
    return 0;
}
