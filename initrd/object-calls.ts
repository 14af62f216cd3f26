/**
 * The system calls that only building an image needs: what sys.ts has not, so that other boots do not read it. Structures
 * and conventions are as there.
 */

/// <reference path="./runtime/sys.d.ts" />
import { wholeNumber } from '../src/formats/bytes.ts';
import { type ByteString, toByteString } from '../src/formats/encoding.ts';
import { AT_EMPTY_PATH, STATX_BASIC_STATS } from '../src/formats/linux.ts';
import type { OstreeFile } from '../src/formats/ostree-tree.ts';
import type { Ownership } from '../src/formats/ostree-tree-objects.ts';
import { NO_XATTRS, S_IFMT, S_IFREG } from '../src/formats/tree.ts';
import {
  call,
  cstring,
  type Descriptor,
  KernelError,
  O_CLOEXEC,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from './sys.ts';

/** struct open_how: u64 flags, mode, resolve. Made once: there are thousands of objects. */
function openHow(flags: number): Uint8Array {
  const how = new Uint8Array(24);
  const view = new DataView(how.buffer);
  view.setUint32(0, flags | O_CLOEXEC, true);
  view.setUint32(16, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, true);
  return how;
}

const FOR_READING = openHow(O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
const AS_PLACE = openHow(O_PATH | O_NOFOLLOW);

/** Opens what stands at `path`, NUL-terminated, below a directory; undefined for a link. */
export function openForReading(
  directory: Descriptor,
  path: Uint8Array,
  name: string,
): Descriptor | undefined {
  const result = sys.syscall(sys.nr.openat2, directory, path, FOR_READING, FOR_READING.length);
  if (result >= 0) return result as Descriptor;
  const error = new KernelError(`open ${name}`, -result);
  if (error.errno === 'ELOOP') return undefined;
  throw error;
}

/** Opens a link itself. */
export function openLink(directory: Descriptor, path: Uint8Array, name: string): Descriptor {
  return call(`open ${name}`, sys.nr.openat2, directory, path, AS_PLACE, AS_PLACE.length) as Descriptor;
}

/** The path of an open file itself. */
const HERE = cstring('');

const status = new Uint8Array(256); // struct statx
const statusView = new DataView(status.buffer);

export interface Inode extends Omit<Ownership, 'xattrs'> {
  readonly type: number;
  readonly size: number;
}

/** Type, mode, owner and size of an open file. */
export function inodeOf(fd: Descriptor, name: string): Inode {
  call(`inspect ${name}`, sys.nr.statx, fd, HERE, AT_EMPTY_PATH, STATX_BASIC_STATS, status);
  return inspected();
}

/** What the last statx(2) has written. */
function inspected(): Inode {
  const mode = statusView.getUint16(28, true);
  return {
    mode,
    type: mode & S_IFMT,
    uid: statusView.getUint32(20, true),
    gid: statusView.getUint32(24, true),
    size: wholeNumber(statusView.getUint32(40, true), statusView.getUint32(44, true)),
  };
}

/** linux/limits.h: XATTR_SIZE_MAX, which is XATTR_LIST_MAX, too. */
const xattrRoom = new Uint8Array(65536);

/** Of an open file. A link, which can only be open as a place, is reached by the name that /proc has for it. */
export function xattrsOf(fd: Descriptor, isLink: boolean, name: string): Ownership['xattrs'] {
  const [list, get] = isLink ? [sys.nr.listxattr, sys.nr.getxattr] : [sys.nr.flistxattr, sys.nr.fgetxattr];
  const place = isLink ? cstring(`/proc/self/fd/${fd}`) : fd;
  const length = call(`list the xattrs of ${name}`, list, place, xattrRoom, xattrRoom.length);
  if (length === 0) return NO_XATTRS;
  const xattrs = new Map<ByteString, Uint8Array>();
  const keys = toByteString(xattrRoom.subarray(0, length - 1)).split('\0') as ByteString[];
  for (const key of keys) {
    const size = call(`read an xattr of ${name}`, get, place, cstring(key), xattrRoom, xattrRoom.length);
    xattrs.set(key, xattrRoom.slice(0, size));
  }
  return xattrs;
}

/** The head of a record (runtime/objects.c): u32 mode, uid, gid, size low, size high, bytes of xattrs; digest. */
const DIGEST_AT = 24;
const XATTRS_AT = 56;
/** Four times what an inode of an image can carry. */
const record = new Uint8Array(2 ** 17);
const words = new Uint32Array(record.buffer, 0, DIGEST_AT / 4);

const ELOOP = 40;

/**
 * A file object as its inode, xattrs and the kernel's fs-verity digest have it. undefined: it is not as objects usually
 * are, or something fails, and who wants to know has to look; 'link': it is a symbolic link.
 */
export function usualFile(directory: Descriptor, checksum: string): OstreeFile | 'link' | undefined {
  const result = sys.inspectObject(directory, checksum, record);
  if (result !== 0) return result === -ELOOP ? 'link' : undefined;
  const size = wholeNumber(words[3] as number, words[4] as number);
  const xattrBytes = words[5] as number;
  return {
    mode: words[0] as number,
    uid: words[1] as number,
    gid: words[2] as number,
    size,
    xattrs: xattrBytes > 0 ? recordedXattrs(XATTRS_AT + xattrBytes) : NO_XATTRS,
    digest: size > 0 ? toByteString(record, DIGEST_AT, XATTRS_AT) : undefined,
  };
}

/** By all their bytes: files have the same ones again and again. */
const knownXattrs = new Map<ByteString, Ownership['xattrs']>();

function recordedXattrs(end: number): Ownership['xattrs'] {
  const all = toByteString(record, XATTRS_AT, end);
  let xattrs = knownXattrs.get(all);
  if (xattrs === undefined) {
    xattrs = parseXattrs(end);
    knownXattrs.set(all, xattrs);
  }
  return xattrs;
}

/** Each: u32 bytes of the value, name with its NUL, value. */
function parseXattrs(end: number): Ownership['xattrs'] {
  const xattrs = new Map<ByteString, Uint8Array>();
  const view = new DataView(record.buffer);
  for (let at = XATTRS_AT; at < end; ) {
    const name = at + 4;
    const value = record.indexOf(0, name) + 1;
    const next = value + view.getUint32(at, true);
    xattrs.set(toByteString(record.subarray(name, value - 1)), record.slice(value, next));
    at = next;
  }
  return xattrs;
}

/** The whole content of a regular file below a directory; undefined where who wants to know has to look for what is wrong. */
export function usualContent(
  directory: Descriptor,
  path: ByteString,
  maxBytes: number,
): Uint8Array | undefined {
  const { nr } = sys;
  const fd = sys.syscall(nr.openat2, directory, cstring(path), FOR_READING, FOR_READING.length);
  if (fd < 0) return undefined;
  let content: Uint8Array | undefined;
  if (sys.syscall(nr.statx, fd, HERE, AT_EMPTY_PATH, STATX_BASIC_STATS, status) === 0) {
    const { type, size } = inspected();
    if (type === S_IFREG && size <= maxBytes) {
      const bytes = new Uint8Array(size);
      if (sys.syscall(nr.read, fd, bytes, size) === size) content = bytes;
    }
  }
  sys.syscall(nr.close, fd);
  return content;
}

/** PATH_MAX. */
const linkRoom = new Uint8Array(4096);

/** Of a link that is open as a place. */
export function targetOf(fd: Descriptor, name: string): ByteString {
  const length = call(`read link ${name}`, sys.nr.readlinkat, fd, HERE, linkRoom, linkRoom.length);
  return toByteString(linkRoom, 0, length);
}

/** openat(2). */
export function openIn(directory: Descriptor, file: ByteString, flags: number, mode = 0): Descriptor {
  const all = flags | O_CLOEXEC;
  return call(`open ${file}`, sys.nr.openat, directory, cstring(file), all, mode) as Descriptor;
}
