/**
 * System calls that Node's fs module does not have. Paths are byte strings, so a name that is not
 * UTF-8 arrives unchanged. A failed call throws with the errno's name; nothing is retried or interpreted here.
 */

import { putBytes } from '../formats/byte-strings.ts';
import { type ByteString, printable, toByteString } from '../formats/encoding.ts';
import { SealrootError } from '../formats/errors.ts';
import { errnoName, systemCall } from './libc.ts';

/** `errno` is its name, e.g. `ENODATA`, for callers to whom some failures are answers. */
export class SystemCallError extends SealrootError {
  readonly errno: string;

  constructor(what: string, errno: string) {
    super('system', 'system-call-failed', `cannot ${what}: ${errno}`);
    this.errno = errno;
  }
}

const functions = {
  open: systemCall('int open(const void *path, int flags)'),
  ioctl: systemCall('int ioctl(int fd, unsigned long request, _Inout_ void *argument)'),
  fgetxattr: systemCall('long fgetxattr(int fd, const void *name, _Out_ void *value, size_t size)'),
  lgetxattr: systemCall('long lgetxattr(const void *path, const void *name, _Out_ void *value, size_t size)'),
  flistxattr: systemCall('long flistxattr(int fd, _Out_ void *list, size_t size)'),
  llistxattr: systemCall('long llistxattr(const void *path, _Out_ void *list, size_t size)'),
  lsetxattr: systemCall(
    'int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)',
  ),
  unshare: systemCall('int unshare(int flags)'),
  mount: systemCall(
    'int mount(const void *source, const void *target, const void *type, unsigned long flags, const void *data)',
  ),
  umount2: systemCall('int umount2(const void *target, int flags)'),
  dup3: systemCall('int dup3(int from, int to, int flags)'),
  syncfs: systemCall('int syncfs(int fd)'),
};

/** fcntl.h */
const O_CLOEXEC = 0x80000;

/** The result of a call that has succeeded; throws when it is an errno, negative. `what` follows "cannot". */
export function check(result: number, what: string): number {
  if (result < 0) throw new SystemCallError(what, errnoName(-result));
  return result;
}

/** With the NUL that C wants. */
export function cString(text: ByteString): Uint8Array {
  return Buffer.from(`${text}\0`, 'latin1');
}

/** linux/limits.h: bytes of a path with its NUL. */
export const PATH_MAX = 4096;
const path = new Uint8Array(PATH_MAX);

/** As cString(), for one call at a time: the next one uses the same memory, which saves most of the time. */
export function pathArgument(text: ByteString): Uint8Array {
  if (text.length >= PATH_MAX) return cString(text);
  putBytes(path, 0, text);
  path[text.length] = 0;
  return path;
}

/** The path of a file as a byte string, for paths that came as JavaScript text. */
export function pathBytes(path: string): ByteString {
  return toByteString(Buffer.from(path, 'utf8'));
}

/** For errors that Node.js has no name for, such as EUCLEAN. Nothing is created. */
export function open(path: ByteString, flags: number, what: string): number {
  return check(functions.open(cString(path), flags | O_CLOEXEC), what);
}

/** `argument` is read and written in place. Returns the call's result. */
export function ioctl(fd: number, request: number, argument: Uint8Array, what: string): number {
  return check(functions.ioctl(fd, request, argument), what);
}

/** An open file, or a path whose last component is not followed. */
export type XattrPlace = number | ByteString;

const XATTR_MAX_BYTES = 65536;
const buffer = Buffer.alloc(XATTR_MAX_BYTES);

/** The value of one extended attribute, a copy; undefined when there is none of that name. */
export function getXattr(place: XattrPlace, name: ByteString): Uint8Array | undefined {
  const key = cString(name);
  const size =
    typeof place === 'number'
      ? functions.fgetxattr(place, key, buffer, buffer.length)
      : functions.lgetxattr(pathArgument(place), key, buffer, buffer.length);
  if (size < 0) {
    const errno = errnoName(-size);
    // A file system without extended attributes has none of that name either.
    if (errno === 'ENODATA' || errno === 'EOPNOTSUPP') return undefined;
    throw new SystemCallError(`read xattr "${printable(name)}" of ${placeName(place)}`, errno);
  }
  return new Uint8Array(buffer.subarray(0, size));
}

/** All names that the caller may see, in the kernel's order. */
export function listXattrs(place: XattrPlace): ByteString[] {
  const size =
    typeof place === 'number'
      ? functions.flistxattr(place, buffer, buffer.length)
      : functions.llistxattr(pathArgument(place), buffer, buffer.length);
  if (size < 0) {
    const errno = errnoName(-size);
    if (errno === 'EOPNOTSUPP') return [];
    throw new SystemCallError(`list the xattrs of ${placeName(place)}`, errno);
  }
  if (size === 0) return [];
  const names = toByteString(buffer, 0, size).split('\0');
  return names.slice(0, -1) as ByteString[];
}

/** Sets an extended attribute; a symbolic link is not followed. */
export function setXattr(path: ByteString, name: ByteString, value: Uint8Array): void {
  const result = functions.lsetxattr(cString(path), cString(name), value, value.length, 0);
  check(result, `set xattr "${printable(name)}" of ${placeName(path)}`);
}

function placeName(place: XattrPlace): string {
  return typeof place === 'number' ? `descriptor ${place}` : `"${printable(place)}"`;
}

/** linux/sched.h; moves the calling thread only. */
export const CLONE_NEWNS = 0x20000;

export function unshare(flags: number): void {
  check(functions.unshare(flags), `enter new namespaces (flags 0x${flags.toString(16)})`);
}

/** Empty text stands for a null pointer. */
export function mount(
  source: ByteString,
  target: ByteString,
  type: ByteString,
  flags: number,
  data: ByteString,
): void {
  const pointer = (text: ByteString) => (text === '' ? null : cString(text));
  const result = functions.mount(pointer(source), cString(target), pointer(type), flags, pointer(data));
  check(result, `mount "${printable(source)}" on "${printable(target)}"`);
}

export function umount2(target: ByteString, flags: number): void {
  check(functions.umount2(cString(target), flags), `unmount "${printable(target)}"`);
}

/** `fd` becomes another descriptor of what `by` has open; what it had open before is closed. */
export function replaceDescriptor(fd: number, by: number): void {
  check(functions.dup3(by, fd, O_CLOEXEC), `replace descriptor ${fd}`);
}

/** `what` names the file system in the error. */
export function syncfs(fd: number, what: string): void {
  check(functions.syncfs(fd), `sync the file system of ${what}`);
}
