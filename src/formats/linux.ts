/**
 * PURE: numbers and structures of the kernel's interface that the host and the initramfs both use, the same on every
 * architecture. Sources: linux/fcntl.h, linux/fsverity.h, linux/mount.h, linux/loop.h.
 */

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_EMPTY_PATH = 0x1000;
/** What statx(2) is asked for: all that stat(2) has. */
export const STATX_BASIC_STATS = 0x7ff;

export const FS_IOC_MEASURE_VERITY = 0xc0046686;

export const FSOPEN_CLOEXEC = 1;
export const FSCONFIG_SET_FLAG = 0;
export const FSCONFIG_SET_STRING = 1;
export const FSCONFIG_CMD_CREATE = 6;
export const FSMOUNT_CLOEXEC = 1;
export const MOUNT_ATTR_RDONLY = 1;
export const MOVE_MOUNT_F_EMPTY_PATH = 4;

export const LOOP_CTL_GET_FREE = 0x4c82;
export const LOOP_CONFIGURE = 0x4c0a;
export const LO_FLAGS_READ_ONLY = 1;
export const LO_FLAGS_AUTOCLEAR = 4;
export const LO_FLAGS_DIRECT_IO = 16;
/** Somebody else may take a loop device between LOOP_CTL_GET_FREE and LOOP_CONFIGURE, which then says EBUSY. */
export const LOOP_ATTEMPTS = 16;

/** struct loop_config: u32 fd, u32 block_size, struct loop_info64 (232 bytes; lo_flags at 52), u64 reserved[8]. */
const LOOP_CONFIG_BYTES = 304;
const LOOP_CONFIG_FLAGS = 8 + 52;

/** The argument of LOOP_CONFIGURE for an open file; the kernel chooses a block size of 0. */
export function encodeLoopConfig(file: number, flags: number, blockSize = 0): Uint8Array {
  const config = new Uint8Array(LOOP_CONFIG_BYTES);
  const view = new DataView(config.buffer);
  view.setUint32(0, file, true);
  view.setUint32(4, blockSize, true);
  view.setUint32(LOOP_CONFIG_FLAGS, flags, true);
  return config;
}
