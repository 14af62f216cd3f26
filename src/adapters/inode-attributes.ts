/** What Node's fs module cannot set: the immutable flag of a directory, and the file capabilities that a write drops. */

import { closeSync, openSync } from 'node:fs';
import { ascii } from '../formats/encoding.ts';
import { getXattr, ioctl, listXattrs, pathBytes, SystemCallError, setXattr } from './syscalls.ts';

/** linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL. The argument is an int, whatever the numbers say. */
const GET_FLAGS = 0x80086601;
const SET_FLAGS = 0x40086602;
const IMMUTABLE = 0x10;

const CAPABILITY = ascii('security.capability');

/**
 * Sets or clears the immutable flag of a file or directory and returns whether it was set. Nothing is written when
 * it is as wanted already. A file system without such flags counts as one where it is not set.
 */
export function setImmutable(path: string, wanted: boolean): boolean {
  const fd = openSync(path, 'r');
  try {
    const flags = Buffer.alloc(8);
    try {
      ioctl(fd, GET_FLAGS, flags, `read the flags of ${path}`);
    } catch (error) {
      const none = error instanceof SystemCallError && ['ENOTTY', 'EOPNOTSUPP'].includes(error.errno);
      if (none && !wanted) return false;
      throw error;
    }
    const current = flags.readUInt32LE(0);
    const was = (current & IMMUTABLE) !== 0;
    if (was === wanted) return was;
    flags.writeUInt32LE((wanted ? current | IMMUTABLE : current & ~IMMUTABLE) >>> 0, 0);
    ioctl(fd, SET_FLAGS, flags, `${wanted ? 'set' : 'clear'} the immutable flag of ${path}`);
    return was;
  } finally {
    closeSync(fd);
  }
}

/** Runs `write` and gives the file the capabilities back that the kernel takes away on any write (capabilities(7)). */
export function keepFileCapabilities(fd: number, path: string, write: () => void): void {
  const value = listXattrs(fd).includes(CAPABILITY) ? getXattr(fd, CAPABILITY) : undefined;
  write();
  if (value !== undefined) setXattr(pathBytes(path), CAPABILITY, value);
}
