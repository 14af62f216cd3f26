/**
 * The system calls, one typed function each: this is the only file that hands buffers to the kernel, and that lays out
 * its structures unless src/formats/linux.ts does. Every failure becomes a KernelError that names operation, object and
 * errno.
 *
 * Structures follow the kernel's include/uapi; offsets are in bytes, integers little endian. Paths are byte strings.
 */

/// <reference path="./runtime/sys.d.ts" />
import { type ByteString, fromByteString, printable, toByteString } from '../src/formats/encoding.ts';
import type { Hasher } from '../src/formats/hasher.ts';
import {
  AT_EMPTY_PATH,
  AT_FDCWD as AT_FDCWD_NUMBER,
  AT_SYMLINK_NOFOLLOW,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  STATX_BASIC_STATS,
} from '../src/formats/linux.ts';
import { S_IFMT } from '../src/formats/tree.ts';
import { ENOENT, KernelError } from './errno.ts';

export { S_IFBLK, S_IFDIR, S_IFLNK, S_IFREG, S_IFSOCK } from '../src/formats/tree.ts';

export { errnoOf, KernelError } from './errno.ts';

/** An open file, by the kernel's number. */
export type Descriptor = number & { readonly descriptor: unique symbol };

export const AT_FDCWD = AT_FDCWD_NUMBER as Descriptor;
export const STDOUT = 1 as Descriptor;
export const STDERR = 2 as Descriptor;

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_NOCTTY = 0o400;
export const O_TRUNC = 0o1000;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
export const { O_DIRECTORY, O_NOFOLLOW } = sys.flag;

/** openat2(2). */
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;

const AT_RECURSIVE = 0x8000;

type Argument = number | Uint8Array | null;

/** `action` completes "cannot ...". Six arguments, since a list of them takes longer than most of the calls. */
export function call(
  action: string,
  number: number,
  a: Argument = null,
  b: Argument = null,
  c: Argument = null,
  d: Argument = null,
  e: Argument = null,
  f: Argument = null,
): number {
  const result = sys.syscall(number, a, b, c, d, e, f);
  if (result < 0) throw new KernelError(action, -result);
  return result;
}

/** A result where ENOENT is an answer, undefined: an exception would cost as much as ten system calls. */
function ifThere(action: string, result: number): number | undefined {
  if (result === -ENOENT) return undefined;
  if (result < 0) throw new KernelError(action, -result);
  return result;
}

/** NUL-terminated. A NUL inside would silently name something else. */
export function cstring(text: string): Uint8Array {
  if (text.includes('\0')) throw new KernelError(`use the name ${printable(text)}`, 22);
  return fromByteString(`${text}\0` as ByteString);
}

export function programArguments(): ByteString[] {
  return sys.argv.map((bytes) => toByteString(bytes));
}

export function exit(status: number): never {
  sys.syscall(sys.nr.exit_group, status);
  throw new Error('exit_group returned');
}

/** What the program may use from now on, in bytes. */
export function limitMemory(bytes: number): void {
  sys.limitMemory(bytes);
}

export const hasher: Hasher = {
  sha256: (data) => sys.sha256(data),
  sha512: (parts) => sys.sha512(...parts),
};

/** open(2) with an absolute path of the initramfs itself. */
export function open(path: ByteString, flags: number, mode = 0): Descriptor {
  const all = flags | O_CLOEXEC;
  return call(`open ${printable(path)}`, sys.nr.openat, AT_FDCWD, cstring(path), all, mode) as Descriptor;
}

/** The same for reading; undefined when there is no such file. */
export function openIfThere(path: ByteString, flags: number): Descriptor | undefined {
  const result = sys.syscall(sys.nr.openat, AT_FDCWD, cstring(path), flags | O_CLOEXEC, 0);
  return ifThere(`open ${printable(path)}`, result) as Descriptor | undefined;
}

/** Retries of openat2 when the kernel saw a concurrent rename or mount (EAGAIN). */
const OPEN_ATTEMPTS = 16;

/** openat2(2) below `directory`; `name` is the path for messages. */
export function openAt2(
  directory: Descriptor,
  path: ByteString,
  flags: number,
  resolve: number,
  name: string,
): Descriptor {
  const how = new Uint8Array(24); // struct open_how: u64 flags, mode, resolve
  const view = new DataView(how.buffer);
  view.setBigUint64(0, BigInt(flags | O_CLOEXEC), true);
  view.setBigUint64(16, BigInt(resolve), true);
  const bytes = cstring(path);
  for (let attempt = 1; ; attempt++) {
    const result = sys.syscall(sys.nr.openat2, directory, bytes, how, how.length);
    if (result >= 0) return result as Descriptor;
    const error = new KernelError(`open ${name}`, -result);
    if (error.errno !== 'EAGAIN' || attempt === OPEN_ATTEMPTS) throw error;
  }
}

export function close(fd: Descriptor): void {
  call(`close descriptor ${fd}`, sys.nr.close, fd);
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/** One datagram to the Unix socket at `path`, without waiting for its reader. */
export function sendDatagram(path: ByteString, content: Uint8Array): void {
  const address = new Uint8Array(2 + path.length + 1); // struct sockaddr_un: u16 family, path with its NUL
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(cstring(path), 2);
  const action = `send to ${printable(path)}`;
  const fd = call(action, sys.nr.socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) as Descriptor;
  const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  call(action, sys.nr.sendto, fd, content, content.length, flags, address, address.length);
  close(fd);
}

/** At most `buffer.length` bytes; 0 at the end of the file. */
export function read(fd: Descriptor, buffer: Uint8Array, name: string): number {
  return call(`read ${name}`, sys.nr.read, fd, buffer, buffer.length);
}

/** All of `bytes`. */
export function write(fd: Descriptor, bytes: Uint8Array, name: string): void {
  for (let at = 0; at < bytes.length; ) {
    const rest = bytes.subarray(at);
    at += call(`write ${name}`, sys.nr.write, fd, rest, rest.length);
  }
}

export interface DeviceNumber {
  readonly major: number;
  readonly minor: number;
}

export interface FileStatus {
  /** S_IFREG and so on. */
  readonly type: number;
  readonly size: number;
  readonly inode: bigint;
  /** The file system's device. */
  readonly device: DeviceNumber;
  /** What a device node stands for. */
  readonly represents: DeviceNumber;
}

function statx(directory: Descriptor, path: string, flags: number, name: string): FileStatus | undefined {
  const buffer = new Uint8Array(256); // struct statx
  const bytes = cstring(path);
  const result = sys.syscall(sys.nr.statx, directory, bytes, flags, STATX_BASIC_STATS, buffer);
  if (ifThere(`inspect ${name}`, result) === undefined) return undefined;
  const view = new DataView(buffer.buffer);
  return {
    type: view.getUint16(28, true) & S_IFMT,
    inode: view.getBigUint64(32, true),
    size: Number(view.getBigUint64(40, true)),
    represents: { major: view.getUint32(128, true), minor: view.getUint32(132, true) },
    device: { major: view.getUint32(136, true), minor: view.getUint32(140, true) },
  };
}

/** fstat(2). */
export function statusOf(fd: Descriptor, name: string): FileStatus {
  const status = statx(fd, '', AT_EMPTY_PATH, name);
  if (status === undefined) throw new KernelError(`inspect ${name}`, ENOENT);
  return status;
}

/** lstat(2), or stat(2), of a path of the initramfs or of what was mounted; undefined when there is nothing. */
export function statusAt(path: ByteString, followsLink = false): FileStatus | undefined {
  return statx(AT_FDCWD, path, followsLink ? 0 : AT_SYMLINK_NOFOLLOW, printable(path));
}

const CLOCK_MONOTONIC = 1;

/** Microseconds since some time in the past. */
export function monotonicMicroseconds(): number {
  const buffer = new Uint8Array(16); // struct timespec: s64 seconds, s64 nanoseconds
  call('read the clock', sys.nr.clock_gettime, CLOCK_MONOTONIC, buffer);
  const view = new DataView(buffer.buffer);
  const seconds = view.getUint32(0, true);
  return seconds * 1_000_000 + Math.floor(view.getUint32(8, true) / 1000);
}

/** struct new_utsname: six fields of 65 bytes each; the third is the release. */
const UTSNAME_FIELD = 65;

/** `uname -r`. */
export function kernelRelease(): ByteString {
  const buffer = new Uint8Array(6 * UTSNAME_FIELD);
  call('ask for the kernel', sys.nr.uname, buffer);
  const release = buffer.subarray(2 * UTSNAME_FIELD, 3 * UTSNAME_FIELD);
  return toByteString(release.subarray(0, release.indexOf(0)));
}

const DIRENT_ROOM = 8192;
/** struct linux_dirent64: u64 inode, s64 offset, u16 length of the whole, u8 type, name with its NUL. */
const DIRENT_NAME = 19;

/** At most `max` names of an open directory, without `.` and `..`. */
export function readNames(fd: Descriptor, max: number, name: string): ByteString[] {
  const names: ByteString[] = [];
  const buffer = new Uint8Array(DIRENT_ROOM);
  const view = new DataView(buffer.buffer);
  for (;;) {
    const length = call(`list ${name}`, sys.nr.getdents64, fd, buffer, buffer.length);
    if (length === 0) return names;
    for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
      const entry = buffer.subarray(at + DIRENT_NAME, buffer.indexOf(0, at + DIRENT_NAME));
      const found = toByteString(entry);
      if (found === '.' || found === '..') continue;
      if (names.push(found) === max) return names;
    }
  }
}

const PATH_MAX = 4096;

export function readLink(path: ByteString): ByteString {
  const buffer = new Uint8Array(PATH_MAX);
  const length = call(
    `read link ${printable(path)}`,
    sys.nr.readlinkat,
    AT_FDCWD,
    cstring(path),
    buffer,
    buffer.length,
  );
  return toByteString(buffer.subarray(0, length));
}

export function makeDirectory(path: ByteString, mode: number): void {
  call(`make directory ${printable(path)}`, sys.nr.mkdirat, AT_FDCWD, cstring(path), mode);
}

export function makeLink(path: ByteString, target: ByteString): void {
  call(`make link ${printable(path)}`, sys.nr.symlinkat, cstring(target), AT_FDCWD, cstring(path));
}

/** The caller guarantees that `buffer` is as long as `request` demands. */
export function ioctl(
  fd: Descriptor,
  request: number,
  argument: Uint8Array | number,
  action: string,
): number {
  return call(action, sys.nr.ioctl, fd, request, argument);
}

export function openFileSystem(type: ByteString): Descriptor {
  return call(`open file system ${type}`, sys.nr.fsopen, cstring(type), FSOPEN_CLOEXEC) as Descriptor;
}

/** Without `value` the option is a flag. */
export function configureFileSystem(context: Descriptor, key: string, value?: ByteString): void {
  const kind = value === undefined ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
  const bytes = value === undefined ? null : cstring(value);
  call(`set file system option ${key}`, sys.nr.fsconfig, context, kind, cstring(key), bytes, 0);
}

export function createFileSystem(context: Descriptor, name: string): void {
  call(`create ${name}`, sys.nr.fsconfig, context, FSCONFIG_CMD_CREATE, null, null, 0);
}

/** A mount that is attached nowhere yet. */
export function mountFileSystem(context: Descriptor, name: string, readOnly: boolean): Descriptor {
  const attributes = readOnly ? MOUNT_ATTR_RDONLY : 0;
  return call(`mount ${name}`, sys.nr.fsmount, context, FSMOUNT_CLOEXEC, attributes) as Descriptor;
}

const OPEN_TREE_CLONE = 1;

/** A copy of the mount below `fd`, as a bind mount makes it, attached nowhere yet. */
export function cloneMount(fd: Descriptor, name: string): Descriptor {
  const flags = OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH;
  return call(`clone the mount of ${name}`, sys.nr.open_tree, fd, cstring(''), flags) as Descriptor;
}

const MOVE_MOUNT_T_EMPTY_PATH = 0x40;

/** Attaches a mount at a path, or at the very directory that a descriptor holds. Links in the path are not followed at its end. */
export function attachMount(mount: Descriptor, target: ByteString | Descriptor, name: string): void {
  const onto = typeof target === 'number';
  call(
    `mount at ${name}`,
    sys.nr.move_mount,
    mount,
    cstring(''),
    onto ? target : AT_FDCWD,
    cstring(onto ? '' : target),
    MOVE_MOUNT_F_EMPTY_PATH | (onto ? MOVE_MOUNT_T_EMPTY_PATH : 0),
  );
}

export interface MountAttributes {
  readonly readOnly?: boolean;
  readonly propagation?: number;
  readonly recursive?: boolean;
}

export const MS_PRIVATE = 1 << 18;
export const MS_SLAVE = 1 << 19;
export const MS_SHARED = 1 << 20;

/** mount_setattr(2) on the mount that a descriptor holds, or whose root a path names. */
export function setMountAttributes(
  mount: ByteString | Descriptor,
  attributes: MountAttributes,
  name: string,
): void {
  const settings = new Uint8Array(32); // struct mount_attr: u64 set, clear, propagation, userns_fd
  const view = new DataView(settings.buffer);
  if (attributes.readOnly !== undefined) {
    view.setBigUint64(attributes.readOnly ? 0 : 8, BigInt(MOUNT_ATTR_RDONLY), true);
  }
  view.setBigUint64(16, BigInt(attributes.propagation ?? 0), true);
  const byDescriptor = typeof mount === 'number';
  call(
    `change the mount of ${name}`,
    sys.nr.mount_setattr,
    byDescriptor ? mount : AT_FDCWD,
    cstring(byDescriptor ? '' : mount),
    (byDescriptor ? AT_EMPTY_PATH : 0) | (attributes.recursive === true ? AT_RECURSIVE : 0),
    settings,
    settings.length,
  );
}

const MNT_DETACH = 2;

/** umount2(2) with MNT_DETACH: gone from the tree at once, with everything mounted below. */
export function detachMount(path: ByteString): void {
  call(`unmount ${printable(path)}`, sys.nr.umount2, cstring(path), MNT_DETACH);
}
