/**
 * The output of a tool that scripts call as they call composefs's: opened early there, so what would make opening
 * fail is asked early here; written late, so a tool that fails leaves nothing. Not synced: as with the reference,
 * when to sync is the script's business.
 */

import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import type { ByteString } from '../formats/encoding.ts';
import { systemError } from '../formats/errors.ts';
import { pathBuffer, reading, SourceError } from './directory-source.ts';
import { errnoOf } from './error-text.ts';
import { temporarySuffix } from './files.ts';

/** Writes all of it; the file had not been touched before. Throws SourceError. */
export type OutputFile = (bytes: Uint8Array) => void;

/**
 * A regular file, or one that is not there yet, appears whole or not at all. Anything else (a device, a pipe, a link
 * such as /proc/self/fd/3) is opened and written to. Throws SourceError when it could not be opened.
 */
export function openOutput(path: ByteString): OutputFile {
  if (path === '') throw new SourceError(path, 'ENOENT');
  return reading(path, () => {
    const target = pathBuffer(path);
    const entry = lstatSync(target, { throwIfNoEntry: false });
    if (entry !== undefined && !entry.isFile()) return openSpecial(path, target);
    if (entry !== undefined) accessSync(target, constants.W_OK);
    const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/') + 1) : './';
    try {
      accessSync(pathBuffer(folder as ByteString), constants.W_OK | constants.X_OK);
    } catch (error) {
      // One may write to a file without being allowed to replace it.
      if (entry !== undefined && errnoOf(error) === 'EACCES') return openSpecial(path, target);
      throw error;
    }
    const temporary = pathBuffer(`${folder}.sealroot-${temporarySuffix()}` as ByteString);
    return (bytes) => reading(path, () => replace(target, temporary, bytes, entry));
  });
}

function openSpecial(path: ByteString, target: Buffer): OutputFile {
  const status = statSync(target, { throwIfNoEntry: false });
  // A file is truncated late; a device or a pipe is opened at once, as whoever reads from it expects.
  if (status?.isFile() === true) {
    accessSync(target, constants.W_OK);
    return (bytes) => reading(path, () => writeTo(openSync(target, 'w'), bytes));
  }
  const fd = openSync(target, 'w');
  return (bytes) => reading(path, () => writeTo(fd, bytes));
}

function replace(target: Buffer, temporary: Buffer, bytes: Uint8Array, old: Stats | undefined): void {
  try {
    writeTo(openSync(temporary, 'wx'), bytes);
    if (old !== undefined) chmodSync(temporary, old.mode & 0o7777);
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Closes `fd`. */
function writeTo(fd: number, bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.length; ) {
      const count = writeSync(fd, bytes, at);
      if (count === 0) throw systemError('output-failed', 'cannot write output: nothing was written');
      at += count;
    }
  } finally {
    closeSync(fd);
  }
}
