/*
 * What an image needs to know of a directory and its entries, in one call for adapters/directory-list.ts: one by one,
 * each of the calls takes longer in JavaScript than in the kernel. No policy and no messages here: a directory with
 * anything that does not go as usual is not listed, and the caller goes through it himself.
 *
 * The layout of the memory stands in directory-list.ts, too. Numbers are in the machine's byte order.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "stamp.h"
#include "xattrs.h"

/* A directory's xattrs follow, then its entries in the order of their names. */
struct head {
    uint32_t entries, xattrs_bytes;
};

struct entry {
    /* Of all that belongs to it. */
    uint32_t bytes;
    uint32_t mode, uid, gid, nlink, rdev;
    /* The name is the last part of the path. */
    uint32_t path_bytes, name_bytes, target_bytes, xattrs_bytes;
    uint8_t stamp[STAMP_BYTES];
    /* With a NUL; then the target of a link, and xattrs. */
    char path[];
};

_Static_assert(sizeof(struct head) == 8, "as in directory-list.ts");
_Static_assert(offsetof(struct entry, path) == 88, "as in directory-list.ts");

/* Where it goes on, and where it must not. */
struct room {
    uint8_t *at, *end;
};

struct names {
    char *bytes;
    size_t used, size;
    const char **sorted;
    uint32_t count;
};

#define NAMES_BYTES (32 * 1024)

void *directory_memory(uint32_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static size_t room_left(const struct room *room)
{
    return room->end - room->at;
}

/* The next one begins at a word. */
static bool end_word(struct room *room)
{
    while ((uintptr_t)room->at % sizeof(uint32_t) != 0 && room->at < room->end)
        *room->at++ = 0;
    return (uintptr_t)room->at % sizeof(uint32_t) == 0;
}

/* All of them as the kernel has them; false for so many that their list has more than `limit` bytes. */
static bool read_names(struct names *names, int fd, size_t limit)
{
    for (;;) {
        if (names->size - names->used < sizeof(struct dirent64)) {
            size_t size = names->size == 0 ? NAMES_BYTES : 2 * names->size;
            /* In the list each of them takes more. */
            char *bytes = names->used > limit ? NULL : realloc(names->bytes, size);
            if (bytes == NULL)
                return false;
            names->bytes = bytes;
            names->size = size;
        }
        ssize_t count = getdents64(fd, names->bytes + names->used, names->size - names->used);
        if (count <= 0)
            return count == 0;
        names->used += count;
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool sort_names(struct names *names)
{
    names->sorted = malloc(names->used / offsetof(struct dirent64, d_name) * sizeof(*names->sorted) + 1);
    if (names->sorted == NULL)
        return false;
    for (size_t at = 0; at < names->used;) {
        const struct dirent64 *entry = (const struct dirent64 *)(names->bytes + at);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            names->sorted[names->count++] = entry->d_name;
        at += entry->d_reclen;
    }
    qsort(names->sorted, names->count, sizeof(*names->sorted), compare_names);
    return true;
}

static bool put_path(struct room *room, struct entry *entry, const char *folder, const char *name)
{
    size_t folder_bytes = strlen(folder);
    entry->name_bytes = strlen(name);
    entry->path_bytes = folder_bytes + 1 + entry->name_bytes;
    /* The calls with a path would refuse it. */
    if (entry->path_bytes >= PATH_MAX || room_left(room) < entry->path_bytes + 1)
        return false;
    memcpy(entry->path, folder, folder_bytes);
    entry->path[folder_bytes] = '/';
    memcpy(entry->path + folder_bytes + 1, name, entry->name_bytes + 1);
    room->at += entry->path_bytes + 1;
    return true;
}

static bool put_target(struct room *room, struct entry *entry, int fd, const char *name)
{
    size_t left = room_left(room);
    ssize_t bytes = left == 0 ? -1 : readlinkat(fd, name, (char *)room->at, left);
    if (bytes < 0 || (size_t)bytes == left)
        return false;
    entry->target_bytes = bytes;
    room->at += bytes;
    return true;
}

/* Directories have theirs in their own list; of files that will be opened, those who read them find out. */
static bool has_xattrs_here(const struct statx *status)
{
    return !S_ISDIR(status->stx_mode) && !(S_ISREG(status->stx_mode) && status->stx_size > 0);
}

static bool put_xattrs_of(struct room *room, uint32_t *xattrs_bytes, int fd, const char *path)
{
    ssize_t bytes = put_xattrs(room->at, room_left(room), fd, path);
    if (bytes < 0)
        return false;
    *xattrs_bytes = bytes;
    room->at += bytes;
    return true;
}

static bool put_entry(struct room *room, int fd, const char *folder, const char *name, bool with_xattrs)
{
    struct entry *entry = (struct entry *)room->at;
    struct statx status;
    if (room_left(room) < sizeof(*entry) || statx(fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &status) != 0)
        return false;
    *entry = (struct entry){
        .mode = status.stx_mode, .uid = status.stx_uid, .gid = status.stx_gid, .nlink = status.stx_nlink,
        .rdev = makedev(status.stx_rdev_major, status.stx_rdev_minor)
    };
    put_stamp(entry->stamp, &status);
    room->at += sizeof(*entry);
    if (!put_path(room, entry, folder, name) || (S_ISLNK(status.stx_mode) && !put_target(room, entry, fd, name)) ||
        (with_xattrs && has_xattrs_here(&status) && !put_xattrs_of(room, &entry->xattrs_bytes, -1, entry->path)) ||
        !end_word(room))
        return false;
    entry->bytes = room->at - (uint8_t *)entry;
    return true;
}

static bool put_list(struct room *room, struct names *names, const char *folder, int fd, bool with_xattrs)
{
    struct head *head = (struct head *)room->at;
    if (room_left(room) < sizeof(*head) || !read_names(names, fd, room_left(room)) || !sort_names(names))
        return false;
    *head = (struct head){ .entries = names->count };
    room->at += sizeof(*head);
    if ((with_xattrs && !put_xattrs_of(room, &head->xattrs_bytes, fd, NULL)) || !end_word(room))
        return false;
    for (uint32_t i = 0; i < names->count; i++)
        if (!put_entry(room, fd, folder, names->sorted[i], with_xattrs))
            return false;
    return true;
}

/*
 * Lists the directory whose path, with a NUL, stands in `memory` at `path`, from `start`, which is a word's, to at most
 * `end`. Where the list ends; -1 if there is none.
 */
int32_t directory_list(uint8_t *memory, uint32_t path, uint32_t start, uint32_t end, int with_xattrs)
{
    struct room room = { .at = memory + start, .end = memory + end };
    struct names names = { 0 };
    const char *folder = (const char *)memory + path;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool done = fd >= 0 && put_list(&room, &names, folder, fd, with_xattrs != 0);
    if (fd >= 0)
        close(fd);
    free(names.sorted);
    free(names.bytes);
    return done ? room.at - memory : -1;
}
