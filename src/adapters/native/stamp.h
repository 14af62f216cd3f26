/* What tells the state of an inode from every other, see InodeStatus in adapters/inode-status.ts. */
#ifndef SEALROOT_STAMP_H
#define SEALROOT_STAMP_H

#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#define STAMP_BYTES 48

static inline void put_stamp(uint8_t stamp[STAMP_BYTES], const struct statx *status)
{
    memcpy(stamp, &status->stx_dev_major, 8);
    memcpy(stamp + 8, &status->stx_ino, 8);
    memcpy(stamp + 16, &status->stx_size, 8);
    memcpy(stamp + 24, &status->stx_mtime, 12);
    memcpy(stamp + 36, &status->stx_ctime, 12);
}

#endif
