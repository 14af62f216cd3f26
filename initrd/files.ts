/**
 * Opening and reading. What lies on the disk is hostile: it is opened below a descriptor, without following links,
 * without blocking, once, and judged by what was opened. The initramfs itself is trusted, but its files are bounded
 * and must be regular all the same.
 */

import { type ByteString, printable } from '../src/formats/encoding.ts';
import { refused, type SealrootError } from '../src/formats/errors.ts';
import {
  type FileCalls,
  type FileCodes,
  isNotPlain,
  opened,
  openedRegular,
  requireRegular,
} from '../src/formats/opened-file.ts';
import type { Descriptor } from './sys.ts';
import * as sys from './sys.ts';

/** A directory of the physical root, opened, with its path for messages. */
export interface OpenDirectory {
  readonly fd: Descriptor;
  readonly path: string;
}

const STRICT = sys.RESOLVE_BENEATH | sys.RESOLVE_NO_SYMLINKS | sys.RESOLVE_NO_MAGICLINKS;

/** Not the module itself, of which all would have to stay then. */
export const CALLS: FileCalls<Descriptor> = {
  statusOf: sys.statusOf,
  ioctl: sys.ioctl,
  errnoOf: sys.errnoOf,
};

/** Opens a directory below `directory`, for use as a place only (O_PATH). */
export function openDirectory(directory: OpenDirectory, path: ByteString, codes: FileCodes): OpenDirectory {
  const name = nameBelow(directory, path);
  const open = () => sys.openAt2(directory.fd, path, sys.O_PATH | sys.O_DIRECTORY, STRICT, name);
  return { fd: opened(CALLS, name, codes, open), path: name };
}

/** Opens a regular file below `directory` for reading. */
export function openRegular(
  directory: OpenDirectory,
  path: ByteString,
  codes: FileCodes,
): { fd: Descriptor; size: number; name: string } {
  const name = nameBelow(directory, path);
  return { ...openedRegular(CALLS, name, codes, () => openForReading(directory, path, name)), name };
}

/** For messages. */
export function nameBelow(directory: OpenDirectory, path: ByteString): string {
  return `${directory.path}/${printable(path)}`;
}

/** Opens what stands there, strictly and without blocking; `openRegular` and the image judge what it is. */
export function openForReading(directory: OpenDirectory, path: ByteString, name: string): Descriptor {
  const flags = sys.O_RDONLY | sys.O_NONBLOCK | sys.O_NOCTTY | sys.O_NOFOLLOW;
  return sys.openAt2(directory.fd, path, flags, STRICT, name);
}

/** At most `max` names in a directory, sorted; none when it cannot be reached plainly. */
export function listBelow(directory: OpenDirectory, path: ByteString, max: number): ByteString[] {
  const name = nameBelow(directory, path);
  try {
    const fd = sys.openAt2(directory.fd, path, sys.O_RDONLY | sys.O_DIRECTORY, STRICT, name);
    const names = sys.readNames(fd, max, name);
    sys.close(fd);
    return names.sort();
  } catch (error) {
    if (isNotPlain(sys.errnoOf(error))) return [];
    throw error;
  }
}

/** What stands at `path` below `directory` itself, links not followed; undefined when it cannot be reached plainly. */
export function typeBelow(directory: OpenDirectory, path: ByteString): number | undefined {
  const name = nameBelow(directory, path);
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
  requireRegular('not-a-regular-file', name, type);
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

function tooLarge(name: string, size: number, maxBytes: number): SealrootError {
  return refused('file-too-large', `cannot read ${name}: ${size} bytes, at most ${maxBytes}`);
}
