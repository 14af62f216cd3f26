/**
 * The mount API of fsopen(2), by number: these calls have the same numbers on every architecture that Node runs on,
 * and an old C library has no functions for them. A failed call throws SystemCallError.
 */

import { type ByteString, printable } from '../formats/encoding.ts';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
} from '../formats/linux.ts';
import { systemCall } from './libc.ts';
import { check, cString } from './syscalls.ts';

const MOVE_MOUNT = 429;
const FSOPEN = 430;
const FSCONFIG = 431;
const FSMOUNT = 432;
const MOUNT_SETATTR = 442;

const syscall = {
  fsopen: systemCall('long syscall(long call, const void *type, unsigned int flags)'),
  fsconfig: systemCall(
    'long syscall(long call, int fd, unsigned int command, const void *key, const void *value, int aux)',
  ),
  fsmount: systemCall('long syscall(long call, int fd, unsigned int flags, unsigned int attributes)'),
  moveMount: systemCall(
    'long syscall(long call, int from, const void *fromPath, int to, const void *toPath, unsigned int flags)',
  ),
  mountSetattr: systemCall(
    'long syscall(long call, int fd, const void *path, unsigned int flags, _Inout_ void *settings, size_t size)',
  ),
};

const EMPTY = '' as ByteString;
const MOUNT_ATTR_IDMAP = 0x100000;

/** A context for a new file system of this type; the caller closes it. */
export function openFileSystem(type: ByteString): number {
  return check(syscall.fsopen(FSOPEN, cString(type), FSOPEN_CLOEXEC), `open file system ${type}`);
}

/** Without `value` the option is a flag. */
export function configureFileSystem(context: number, key: ByteString, value?: ByteString): void {
  const kind = value === undefined ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
  const bytes = value === undefined ? null : cString(value);
  check(syscall.fsconfig(FSCONFIG, context, kind, cString(key), bytes, 0), `set file system option ${key}`);
}

/** The last step of configuring: from now on the context has a file system. */
export function createFileSystem(context: number): void {
  check(syscall.fsconfig(FSCONFIG, context, FSCONFIG_CMD_CREATE, null, null, 0), 'create file system');
}

/** A mount of what the context has, attached nowhere yet; the caller closes it. */
export function createMount(context: number, readOnly: boolean): number {
  const attributes = readOnly ? MOUNT_ATTR_RDONLY : 0;
  return check(syscall.fsmount(FSMOUNT, context, FSMOUNT_CLOEXEC, attributes), 'mount file system');
}

/** Owners of the mount, which must be attached nowhere, appear as the user namespace open as `userNamespace` maps them. */
export function mapOwners(mount: number, userNamespace: number): void {
  const attributes = Buffer.alloc(32); // struct mount_attr: u64 set, clear, propagation, userns_fd
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR_IDMAP), 0);
  attributes.writeBigUInt64LE(BigInt(userNamespace), 24);
  const result = syscall.mountSetattr(
    MOUNT_SETATTR,
    mount,
    cString(EMPTY),
    AT_EMPTY_PATH,
    attributes,
    attributes.length,
  );
  check(result, 'map the owners of mount');
}

/** A link at the end of the path is not followed. */
export function attachMount(mount: number, target: ByteString): void {
  const result = syscall.moveMount(
    MOVE_MOUNT,
    mount,
    cString(EMPTY),
    AT_FDCWD,
    cString(target),
    MOVE_MOUNT_F_EMPTY_PATH,
  );
  check(result, `mount at "${printable(target)}"`);
}
