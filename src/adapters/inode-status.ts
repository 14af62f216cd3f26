/**
 * statx(2): of an inode exactly what an image needs, half as dear as Node's lstat with BigInts. Struct statx is the
 * same on every architecture (linux/stat.h).
 */

import { wholeNumber } from '../formats/bytes.ts';
import { type ByteString, toByteString } from '../formats/encoding.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS } from '../formats/linux.ts';
import { systemCall } from './libc.ts';
import { check, cString, pathArgument } from './syscalls.ts';

const statx = systemCall(
  'int statx(int dirfd, const void *path, int flags, unsigned int mask, _Out_ void *status)',
);

const STATX_BYTES = 256;

export interface InodeStatus {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  /** glibc's dev_t, low 32 bits. */
  readonly rdev: number;
  readonly size: number;
  readonly mtimeSec: bigint;
  readonly mtimeNsec: number;
  /**
   * What tells an inode and its state from every other: device, number, size, mtime and ctime, as statx(2) has them; the
   * ctime changes with every change of content, owner, mode or xattrs.
   */
  readonly stamp: ByteString;
}

const buffer = Buffer.alloc(STATX_BYTES);

/** Of a path whose last component is not followed, or of an open file. Throws SystemCallError. */
export function inodeStatus(place: ByteString | number, name: string): InodeStatus {
  const result =
    typeof place === 'number'
      ? statx(place, cString('' as ByteString), AT_EMPTY_PATH, STATX_BASIC_STATS, buffer)
      : statx(AT_FDCWD, pathArgument(place), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer);
  check(result, `read the status of ${name}`);
  const major = buffer.readUInt32LE(0x80);
  const minor = buffer.readUInt32LE(0x84);
  return {
    nlink: buffer.readUInt32LE(0x10),
    uid: buffer.readUInt32LE(0x14),
    gid: buffer.readUInt32LE(0x18),
    mode: buffer.readUInt16LE(0x1c),
    size: wholeNumber(buffer.readUInt32LE(0x28), buffer.readUInt32LE(0x2c)),
    mtimeSec: buffer.readBigInt64LE(0x70),
    mtimeNsec: buffer.readUInt32LE(0x78),
    rdev: ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0,
    stamp: stampText(),
  };
}

/** Device and inode number: equal for two names of one inode, for nothing else while both exist. */
export function identityOf({ stamp: whole }: InodeStatus): string {
  return whole.slice(0, 16);
}

/** Bytes of a stamp. */
export const STAMP_BYTES = 48;

/** Where the parts of a stamp are that are read again: u64 size, s64 seconds with u32 nanoseconds of mtime and ctime. */
export const STAMP = { SIZE: 16, MTIME: 24, MTIME_NSEC: 32, CTIME: 36 } as const;

const stamp = Buffer.alloc(STAMP_BYTES);

/** The parts of struct statx that a stamp is made of, and where each goes in it. */
const STAMP_PARTS = [
  { part: buffer.subarray(0x88, 0x90), at: 0 }, // device
  { part: buffer.subarray(0x20, 0x30), at: 8 }, // inode number, size
  { part: buffer.subarray(0x70, 0x7c), at: STAMP.MTIME },
  { part: buffer.subarray(0x60, 0x6c), at: STAMP.CTIME },
];

function stampText(): ByteString {
  for (const { part, at } of STAMP_PARTS) stamp.set(part, at);
  return toByteString(stamp);
}

/** The ctime in a stamp, in milliseconds since 1970. */
export function changedAt(inode: Uint8Array): number {
  const ctime = new DataView(inode.buffer, inode.byteOffset + STAMP.CTIME);
  return Number(ctime.getBigInt64(0, true)) * 1000 + Math.floor(ctime.getUint32(8, true) / 1_000_000);
}
