/**
 * What mounts allow, as statfs(2) tells it, and as mount(2) changes it in the place of mount_setattr(2), which came with
 * Linux 5.12. Conventions are as in sys.ts, which has not what few boots need.
 */

/// <reference path="./runtime/sys.d.ts" />
import { ascii, type ByteString, printable } from '../src/formats/encoding.ts';
import {
  attachMount,
  call,
  cloneMount,
  close,
  cstring,
  type Descriptor,
  detachMount,
  makeDirectory,
  statusAt,
} from './sys.ts';

/** ST_RDONLY, ST_NOSUID, ST_NODEV and ST_NOEXEC are the same numbers. */
const MS_RDONLY = 1;
const KEPT = 2 | 4 | 8;
const MS_REMOUNT = 1 << 5;
const MS_BIND = 1 << 12;
const MS_REC = 1 << 14;

function flagsAt(path: ByteString): number {
  const buffer = new Uint8Array(120); // struct statfs of 64-bit systems; f_flags at 80
  call(`inspect the file system of ${printable(path)}`, sys.nr.statfs, cstring(path), buffer);
  return new DataView(buffer.buffer).getUint32(80, true);
}

/** Whether nothing can be written at `path`, because of the mount or of its file system. */
export function isReadOnly(path: ByteString): boolean {
  return (flagsAt(path) & MS_RDONLY) !== 0;
}

/** In a directory that only root gets through. */
const PLACE = ascii('/run/ostree/.private/clone');

/**
 * The same mount, attached nowhere, read-only or writable as asked for; the one that is given is closed. mount(2) wants it
 * attached at a path: that is a place of its own, which it leaves at once, also after a failure, so that in the new root it
 * has never stood with more than it is to allow.
 */
export function remounted(mount: Descriptor, readOnly: boolean, name: string): Descriptor {
  if (statusAt(PLACE) === undefined) makeDirectory(PLACE, 0o700);
  attachMount(mount, PLACE, name);
  try {
    // What is not named is allowed again, but for access times, which are left as they are.
    const kept = flagsAt(PLACE) & KEPT;
    change(PLACE, MS_REMOUNT | MS_BIND | kept | (readOnly ? MS_RDONLY : 0), name);
    return cloneMount(mount, name);
  } finally {
    detachMount(PLACE);
    close(mount);
  }
}

/** `propagation`: MS_PRIVATE, MS_SLAVE or MS_SHARED. */
export function propagate(path: ByteString, propagation: number, recursive: boolean): void {
  change(path, propagation | (recursive ? MS_REC : 0), printable(path));
}

function change(path: ByteString, flags: number, name: string): void {
  call(`change the mount of ${name}`, sys.nr.mount, null, cstring(path), null, flags, null);
}
