/*
 * What an image takes from the file objects of a repository, of which there are thousands: five system calls for each, and
 * in JavaScript an eighth of the time of building it was spent between them. Only what is usual is done here. Whatever else
 * is found, every error included, is an answer below zero, upon which ../rebuilt-image.ts looks for itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "runtime.h"

/* musl comes without the kernel's own headers: linux/openat2.h, linux/fsverity.h. */
struct open_how {
    uint64_t flags, mode, resolve;
};
#define RESOLVE_NO_MAGICLINKS 0x02
#define RESOLVE_NO_SYMLINKS 0x04
#define RESOLVE_BENEATH 0x08
#define FS_IOC_MEASURE_VERITY 0xc0046686
#define FS_VERITY_HASH_ALG_SHA256 1

#define CHECKSUM_DIGITS 64
#define SHA256_BYTES 32
/* linux/limits.h: XATTR_LIST_MAX */
#define XATTR_LIST_ROOM 65536

/* Read in ../object-calls.ts. The xattrs follow, one after the other: u32 bytes of the value, name with its NUL, value. */
struct object {
    uint32_t mode, uid, gid, size_low, size_high;
    uint32_t xattr_bytes;
    uint8_t digest[SHA256_BYTES];
};
_Static_assert(sizeof(struct object) == 56, "XATTRS_AT of ../object-calls.ts");

/* The kernel allocates what it is offered, up to 64 KiB, and clears it: for most files that would be all of their time. */
#define USUAL_ROOM 512

static char xattr_names[XATTR_LIST_ROOM];

static ssize_t list_xattrs(int fd)
{
    ssize_t bytes = flistxattr(fd, xattr_names, USUAL_ROOM);
    return bytes < 0 && errno == ERANGE ? flistxattr(fd, xattr_names, sizeof xattr_names) : bytes;
}

static ssize_t get_xattr(int fd, const char *name, uint8_t *out, size_t room)
{
    ssize_t bytes = fgetxattr(fd, name, out, room < USUAL_ROOM ? room : USUAL_ROOM);
    return bytes < 0 && errno == ERANGE && room > USUAL_ROOM ? fgetxattr(fd, name, out, room) : bytes;
}

/* Returns how many bytes of `out` they take, or a negative error number. */
static ssize_t read_xattrs(int fd, uint8_t *out, size_t room)
{
    ssize_t names = list_xattrs(fd);
    size_t used = 0;
    for (ssize_t at = 0; at < names;) {
        const char *name = xattr_names + at;
        size_t length = strnlen(name, names - at) + 1;
        at += length;
        size_t head = sizeof(uint32_t) + length;
        if (at > names || room - used < head)
            return -ERANGE;
        ssize_t got = get_xattr(fd, name, out + used + head, room - used - head);
        /* Where no room is left, the kernel only says how much it takes. */
        if (got < 0 || (size_t)got > room - used - head)
            return got < 0 ? -errno : -ERANGE;
        uint32_t size = got;
        memcpy(out + used, &size, sizeof size);
        memcpy(out + used + sizeof size, name, length);
        used += head + size;
    }
    return names < 0 ? -errno : (ssize_t)used;
}

static int measure(int fd, uint8_t digest[SHA256_BYTES])
{
    /* struct fsverity_digest; digest_size says how much room there is, then how much was taken. */
    struct {
        uint16_t digest_algorithm, digest_size;
        uint8_t digest[SHA256_BYTES];
    } measured = { .digest_size = SHA256_BYTES };
    if (ioctl(fd, FS_IOC_MEASURE_VERITY, &measured) < 0)
        return -errno;
    if (measured.digest_algorithm != FS_VERITY_HASH_ALG_SHA256 || measured.digest_size != SHA256_BYTES)
        return -EINVAL;
    memcpy(digest, measured.digest, SHA256_BYTES);
    return 0;
}

static int inspect_open(int fd, struct object *object, uint8_t *xattrs, size_t room)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    object->mode = status.st_mode;
    object->uid = status.st_uid;
    object->gid = status.st_gid;
    object->size_low = status.st_size;
    object->size_high = status.st_size >> 32;
    ssize_t xattr_bytes = read_xattrs(fd, xattrs, room);
    if (xattr_bytes < 0)
        return xattr_bytes;
    object->xattr_bytes = xattr_bytes;
    return status.st_size > 0 ? measure(fd, object->digest) : 0;
}

/* inspectObject(directory, checksum, record) */
static JSValue js_inspect_object(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int32_t directory;
    size_t digits, room;
    if (JS_ToInt32(ctx, &directory, argv[0]))
        return JS_EXCEPTION;
    const uint8_t *checksum = JS_GetByteString(argv[1], &digits);
    char path[CHECKSUM_DIGITS + sizeof "/.file"];
    int is_checksum = checksum && digits == CHECKSUM_DIGITS;
    if (is_checksum) {
        memcpy(path, checksum, 2);
        path[2] = '/';
        memcpy(path + 3, checksum + 2, CHECKSUM_DIGITS - 2);
        memcpy(path + 1 + CHECKSUM_DIGITS, ".file", sizeof ".file");
    }
    uint8_t *record = bytes_of(ctx, argv[2], &room);
    if (!record)
        return JS_EXCEPTION;
    struct object object = { 0 };
    if (!is_checksum || room < sizeof object)
        return JS_ThrowRangeError(ctx, "not a checksum, or no room");
    const struct open_how how = { .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC,
                                  .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
    int fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd < 0)
        return JS_NewInt32(ctx, -errno);
    int result = inspect_open(fd, &object, record + sizeof object, room - sizeof object);
    close(fd);
    memcpy(record, &object, sizeof object);
    return JS_NewInt32(ctx, result);
}

const JSCFunctionListEntry object_functions[OBJECT_FUNCTIONS] = {
    JS_CFUNC_DEF("inspectObject", 3, js_inspect_object),
};
