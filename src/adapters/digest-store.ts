/**
 * A composefs object store: files named by their fs-verity digest. An object appears whole or not at all: it is
 * written under another name, synced, made a verity file where the file system can do that, and then renamed.
 */

import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { type ByteString, fromByteString, printable } from '../formats/encoding.ts';
import { SealrootError } from '../formats/errors.ts';
import { algorithmOfDigest, type VerityAlgorithm } from '../formats/fsverity.ts';
import { S_IFMT, S_IFREG } from '../formats/tree.ts';
import { pathBuffer, reading, type SourceFile, withUnchanged } from './directory-source.ts';
import { errnoOf } from './error-text.ts';
import { inodeStatus } from './inode-status.ts';
import { enableVerity, measureVerity, requireDigest } from './verity.ts';

/** Readable by all, as the reference has it; the umask has no say. */
const OBJECT_MODE = 0o644;

/** Adds the files that have a digest and are not there yet. The folder is made, with its parents, when something is added. */
export function fillDigestStore(store: ByteString, files: readonly SourceFile[]): void {
  for (const file of files) addObject(store, file);
}

function addObject(store: ByteString, file: SourceFile): void {
  const { digest, payload } = file.node;
  if (digest === undefined || payload === undefined) return;
  const object = `${store}/${payload}` as ByteString;
  if (isWhole(object, file.node.size)) return;
  makeFolder(object.slice(0, object.lastIndexOf('/')) as ByteString);
  const temporary = `${store}/.tmp${randomBytes(6).toString('hex')}` as ByteString;
  try {
    copyContent(file, temporary);
    reading(temporary, () => seal(temporary, fromByteString(digest)));
    reading(object, () => renameSync(pathBuffer(temporary), pathBuffer(object)));
  } finally {
    rmSync(pathBuffer(temporary), { force: true });
  }
}

/** With its parents. Not Node's recursive mkdir: that never ends in /proc, where nothing can be made. */
function makeFolder(path: ByteString): void {
  if (isFolder(path)) return;
  const slash = path.lastIndexOf('/');
  if (slash > 0) makeFolder(path.slice(0, slash) as ByteString);
  try {
    mkdirSync(pathBuffer(path), 0o755);
  } catch (error) {
    // Somebody else fills the same store.
    if (errnoOf(error) === 'EEXIST' && isFolder(path)) return;
    reading(path, () => {
      throw error;
    });
  }
}

function isFolder(path: ByteString): boolean {
  return reading(path, () => statSync(pathBuffer(path), { throwIfNoEntry: false }))?.isDirectory() === true;
}

/** What a tool that was stopped half-way left under an object's name is replaced. */
function isWhole(object: ByteString, size: number): boolean {
  try {
    const status = inodeStatus(object, object);
    return (status.mode & S_IFMT) === S_IFREG && status.size === size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

/** Shares the extents where the file system can (FICLONE), else the kernel copies. */
function copyContent({ path, stamp }: SourceFile, temporary: ByteString): void {
  const target = pathBuffer(temporary);
  withUnchanged(path, stamp, (source) => {
    const flags = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE;
    reading(temporary, () => copyFileSync(`/proc/self/fd/${source}`, target, flags));
  });
  reading(temporary, () => chmodSync(target, OBJECT_MODE));
}

/** Synced, and verified by the kernel from now on where that is possible. */
function seal(temporary: ByteString, digest: Uint8Array): void {
  const fd = openSync(pathBuffer(temporary), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    fsyncSync(fd);
    const name = `"${printable(temporary)}"`;
    const algorithm = algorithmOfDigest(digest) ?? 'sha256';
    if (!tryEnableVerity(fd, name, algorithm)) return;
    const measured = measureVerity(fd, name, algorithm);
    if (measured !== undefined) requireDigest(measured, digest, name);
  } finally {
    closeSync(fd);
  }
}

/** False where kernel or file system will not: the object then goes without, as the reference has it. */
function tryEnableVerity(fd: number, name: string, algorithm: VerityAlgorithm): boolean {
  try {
    enableVerity(fd, name, algorithm);
    return true;
  } catch (error) {
    if (error instanceof SealrootError && error.kind === 'system') return false;
    throw error;
  }
}
