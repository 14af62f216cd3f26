/**
 * Opening and reading. What lies on the disk is hostile: it is opened below a descriptor, without following links,
 * without blocking, once, and judged by what was opened. The initramfs itself is trusted, but its files are bounded
 * and must be regular all the same.
 */

import { type ByteString, printable } from '../src/formats/encoding.ts';
import { refused, type SealrootError } from '../src/formats/errors.ts';
import type { Descriptor } from './sys.ts';
import * as sys from './sys.ts';

/** A directory of the physical root, opened, with its path for messages. */
export interface OpenDirectory {
  readonly fd: Descriptor;
  readonly path: string;
}

const STRICT = sys.RESOLVE_BENEATH | sys.RESOLVE_NO_SYMLINKS | sys.RESOLVE_NO_MAGICLINKS;

/** Errors of openat2 that say: on this path stands something else than directories and what was asked for. */
const NOT_A_PLAIN_PATH = ['ELOOP', 'EXDEV', 'ENOTDIR', 'EISDIR', 'ENXIO', 'ENODEV', 'ENAMETOOLONG'];

/** Codes for what can be wrong with one file; the same words for all would not tell the reader what to replace. */
export interface FileCodes {
  readonly missing: string;
  /** A link, device, FIFO, directory, or something on its path that is no directory. */
  readonly unsafe: string;
}

/** Opens a directory below `directory`, for use as a place only (O_PATH). */
export function openDirectory(directory: OpenDirectory, path: ByteString, codes: FileCodes): OpenDirectory {
  const name = `${directory.path}/${printable(path)}`;
  return { fd: openStrictly(directory, path, sys.O_PATH | sys.O_DIRECTORY, codes, name), path: name };
}

/** Opens a regular file below `directory` for reading. */
export function openRegular(
  directory: OpenDirectory,
  path: ByteString,
  codes: FileCodes,
): { fd: Descriptor; size: number; name: string } {
  const name = `${directory.path}/${printable(path)}`;
  const flags = sys.O_RDONLY | sys.O_NONBLOCK | sys.O_NOCTTY | sys.O_NOFOLLOW;
  const fd = openStrictly(directory, path, flags, codes, name);
  const { type, size } = sys.statusOf(fd, name);
  if (type !== sys.S_IFREG) throw notRegular(codes.unsafe, name, type);
  return { fd, size, name };
}

function openStrictly(
  directory: OpenDirectory,
  path: ByteString,
  flags: number,
  codes: FileCodes,
  name: string,
): Descriptor {
  try {
    return sys.openAt2(directory.fd, path, flags, STRICT, name);
  } catch (error) {
    const errno = sys.errnoOf(error);
    if (errno === 'ENOENT') throw refused(codes.missing, `cannot open ${name}: ENOENT`);
    if (errno !== undefined && NOT_A_PLAIN_PATH.includes(errno)) {
      throw refused(
        codes.unsafe,
        `cannot open ${name}: ${errno}, its path holds a link or a file of another type`,
      );
    }
    throw error;
  }
}

/** More names than this are somebody's trap; what lies behind them is not seen. */
const MAX_NAMES = 4096;

/** The names in a directory, sorted; none when it cannot be reached plainly. */
export function listBelow(directory: OpenDirectory, path: ByteString): ByteString[] {
  const name = `${directory.path}/${printable(path)}`;
  try {
    const fd = sys.openAt2(directory.fd, path, sys.O_RDONLY | sys.O_DIRECTORY, STRICT, name);
    const names = sys.readNames(fd, MAX_NAMES, name);
    sys.close(fd);
    return names.sort();
  } catch (error) {
    if (isNotPlain(sys.errnoOf(error))) return [];
    throw error;
  }
}

/** What stands at `path` below `directory` itself, links not followed; undefined when it cannot be reached plainly. */
export function typeBelow(directory: OpenDirectory, path: ByteString): number | undefined {
  const name = `${directory.path}/${printable(path)}`;
  try {
    const fd = sys.openAt2(directory.fd, path, sys.O_PATH | sys.O_NOFOLLOW, STRICT, name);
    const { type } = sys.statusOf(fd, name);
    sys.close(fd);
    return type;
  } catch (error) {
    if (isNotPlain(sys.errnoOf(error))) return undefined;
    throw error;
  }
}

function isNotPlain(errno: string | undefined): boolean {
  return errno === 'ENOENT' || (errno !== undefined && NOT_A_PLAIN_PATH.includes(errno));
}

/** The whole content of a file on the disk, read once. */
export function readBelow(
  directory: OpenDirectory,
  path: ByteString,
  maxBytes: number,
  codes: FileCodes,
): Uint8Array {
  const { fd, size, name } = openRegular(directory, path, codes);
  if (size > maxBytes) throw tooLarge(name, size, maxBytes);
  const content = new Uint8Array(size);
  const length = readInto(fd, content, name);
  sys.close(fd);
  if (length < size) {
    throw refused('file-truncated', `cannot read ${name}: ${length} bytes, its size is ${size}`);
  }
  return content;
}

/** A file of the initramfs, or of /proc, which does not tell its size; undefined when there is none. */
export function readOwn(path: ByteString, maxBytes: number): Uint8Array | undefined {
  const name = printable(path);
  const fd = sys.openIfThere(path, sys.O_RDONLY | sys.O_NONBLOCK | sys.O_NOCTTY);
  if (fd === undefined) return undefined;
  const { type, size } = sys.statusOf(fd, name);
  if (type !== sys.S_IFREG) throw notRegular('not-a-regular-file', name, type);
  if (size > maxBytes) throw tooLarge(name, size, maxBytes);
  const content = new Uint8Array((size > 0 ? size : maxBytes) + 1);
  const length = readInto(fd, content, name);
  sys.close(fd);
  if (length > maxBytes) throw tooLarge(name, length, maxBytes);
  return content.slice(0, length);
}

/** Reads until `buffer` is full or the file ends; returns how much was read. */
function readInto(fd: Descriptor, buffer: Uint8Array, name: string): number {
  let at = 0;
  while (at < buffer.length) {
    const count = sys.read(fd, buffer.subarray(at), name);
    if (count === 0) break;
    at += count;
  }
  return at;
}

function notRegular(code: string, name: string, type: number): SealrootError {
  return refused(code, `cannot read ${name}: it is of type 0o${type.toString(8)}, expected a regular file`);
}

function tooLarge(name: string, size: number, maxBytes: number): SealrootError {
  return refused('file-too-large', `cannot read ${name}: ${size} bytes, at most ${maxBytes}`);
}
