/**
 * Destroys the file of a secret key. What that guarantees: the file's blocks are overwritten with random bytes and
 * synced before the name goes. What it does not: copies that a copy-on-write or journalling file system, a
 * snapshot, a backup or the wear levelling of a flash disk keeps. A key that must never be on a disk belongs on a
 * tmpfs.
 */

import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { systemError, usageError } from '../formats/errors.ts';

/** Throws unless the path is a regular file that can be written: asked before anything is signed. */
export function requireDestroyable(path: string): void {
  if (!lstatSync(path).isFile()) {
    throw usageError(
      'key-not-destroyable',
      `cannot destroy secret key ${path}: it is not a regular file`,
      'give the file itself, not a link to it',
    );
  }
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW));
  } catch (error) {
    throw destroyError(path, error);
  }
}

/** Overwrites, syncs, unlinks, syncs the folder. Other hard links keep a name of the overwritten file. */
export function destroyKey(path: string): void {
  try {
    const file = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      const noise = randomBytes(fstatSync(file).size);
      for (let at = 0; at < noise.length; ) at += writeSync(file, noise, at, noise.length - at, at);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    unlinkSync(path);
    const folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch (error) {
    throw destroyError(path, error);
  }
}

function destroyError(path: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  return systemError(
    'key-not-destroyed',
    `cannot destroy secret key ${path}: ${code ?? message}`,
    'remove it by hand; what it signed is sealed',
  );
}
