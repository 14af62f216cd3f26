/**
 * Reading files that may be anything, and writing files that are whole or not there. Nothing here follows a file
 * that turns out to be a device, pipe or directory, and nothing reads more than the caller allows.
 */

import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsync,
  fsyncSync,
  linkSync,
  openSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { badInput, type SealrootError, systemError } from '../formats/errors.ts';

/** Node's own errors, with the errno's name kept. */
export function fileError(verb: string, file: string, error: unknown): SealrootError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return systemError('file-missing', `cannot ${verb} ${file}: ENOENT`);
  return systemError('file-access-failed', `cannot ${verb} ${file}: ${code ?? message}`);
}

/** True for the error of a file that is not there. */
export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

/**
 * The content of a regular file of at most `max` bytes. O_NONBLOCK: a FIFO put in its place must not hang us. The
 * size is checked again while reading, since a file may grow and those in /proc claim to be empty.
 */
export function readBounded(file: string, max: number): Uint8Array {
  const content = readBoundedIfExists(file, max);
  if (content === undefined) throw systemError('file-missing', `cannot read ${file}: ENOENT`);
  return content;
}

/** As `readBounded`, but undefined when there is no such file. */
export function readBoundedIfExists(file: string, max: number): Uint8Array | undefined {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw fileError('read', file, error);
  }
  try {
    return readDescriptor(fd, file, max);
  } finally {
    closeSync(fd);
  }
}

/** The rest of an open file, under the same rules. */
export function readDescriptor(fd: number, file: string, max: number): Uint8Array {
  const status = fstatSync(fd);
  if (!status.isFile()) throw badInput('not-a-regular-file', `cannot read ${file}: not a regular file`);
  if (status.size > max) throw tooLarge(file, status.size, max);
  let out: Uint8Array = new Uint8Array(status.size + 1);
  let length = 0;
  try {
    for (;;) {
      const count = readSync(fd, out, length, out.length - length, null);
      length += count;
      // A file of that size has ended where it says, unless it has grown: then the byte more was read, too.
      if (count === 0 || (length === status.size && length > 0)) return out.subarray(0, length);
      if (length > max) throw tooLarge(file, length, max);
      if (length === out.length) {
        const larger = new Uint8Array(Math.min(max + 1, Math.max(4096, 2 * length)));
        larger.set(out);
        out = larger;
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw fileError('read', file, error);
  }
}

function tooLarge(file: string, size: number, max: number): SealrootError {
  return badInput('file-too-large', `cannot read ${file}: ${size} bytes, more than ${max}`);
}

export interface WriteOptions {
  /** Fails with `file-exists` instead of replacing what has that name. */
  readonly exclusive?: boolean;
}

/**
 * When it is done the file is on the disk under its name with exactly these bytes and this mode; on any error there is
 * no new file, and an old one of that name is as it was. The caller can do other things meanwhile, but not change the bytes.
 */
export async function writeAtomically(
  file: string,
  bytes: Uint8Array,
  mode: number,
  { exclusive = false }: WriteOptions = {},
): Promise<void> {
  const folder = path.dirname(file);
  const temporary = path.join(folder, `.${path.basename(file)}.${temporarySuffix()}`);
  try {
    await writeNew(temporary, bytes, mode);
    try {
      // link() fails where rename() would replace.
      if (exclusive) linkSync(temporary, file);
      else renameSync(temporary, file);
    } finally {
      removeIfExists(temporary);
    }
    syncFolder(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      throw systemError('file-exists', `cannot write ${file}: it exists already`);
    }
    throw fileError('write', file, error);
  }
}

/**
 * For the name of a file that is created as a new one and nothing else, so that it need not be a secret: node:crypto takes
 * longer to load than most of what is done here.
 */
export function temporarySuffix(): string {
  return Math.random().toString(36).slice(2);
}

async function writeNew(file: string, bytes: Uint8Array, mode: number): Promise<void> {
  const fd = openSync(file, 'wx', mode & 0o600);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    // After the content: the umask has no say, and a secret is never readable by others in between.
    fchmodSync(fd, mode);
    // By another thread, for the disk takes long. Were writing, too, then fsync would begin only when this one is idle.
    await promisify(fsync)(fd);
  } catch (error) {
    removeIfExists(file);
    throw error;
  } finally {
    closeSync(fd);
  }
}

function removeIfExists(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** A name in a directory is only as durable as the directory. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
