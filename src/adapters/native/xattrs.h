/* Extended attributes in the form that adapters/shared-xattrs.ts takes apart. */
#ifndef SEALROOT_XATTRS_H
#define SEALROOT_XATTRS_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/xattr.h>

/*
 * Of each: the lengths of name and value in two bytes, name, value. `fd` is negative for a path that is not followed.
 * How many bytes that were; -1 when something goes wrong, or there is no room.
 */
static ssize_t put_xattrs(uint8_t *out, size_t room, int fd, const char *path)
{
    char names[4096];
    ssize_t size = fd >= 0 ? flistxattr(fd, names, sizeof(names)) : llistxattr(path, names, sizeof(names));
    if (size < 0)
        return errno == EOPNOTSUPP ? 0 : -1;
    uint8_t *at = out, *end = out + room;
    for (const char *name = names; name < names + size; name += strlen(name) + 1) {
        uint16_t lengths[2] = { strlen(name), 0 };
        if (end - at < (ptrdiff_t)(sizeof(lengths) + lengths[0]))
            return -1;
        uint8_t *value = at + sizeof(lengths) + lengths[0];
        /* With no room at all it would be asked for the length only. */
        if (value == end)
            return -1;
        ssize_t length = fd >= 0 ? fgetxattr(fd, name, value, end - value) : lgetxattr(path, name, value, end - value);
        if (length < 0 || length > UINT16_MAX)
            return -1;
        lengths[1] = length;
        memcpy(at, lengths, sizeof(lengths));
        memcpy(at + sizeof(lengths), name, lengths[0]);
        at = value + length;
    }
    return at - out;
}

#endif
