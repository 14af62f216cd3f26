/**
 * `sealroot image mount`: an image over its backing files, read-only. What is mounted is what was read and found to be
 * an image that composefs writes: both through one descriptor.
 */

import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { mountComposefs } from '../adapters/composefs-mount.ts';
import { fileError } from '../adapters/files.ts';
import { pathBytes, SystemCallError } from '../adapters/syscalls.ts';
import { measureVerity, requireDigest } from '../adapters/verity.ts';
import { readWhole } from '../adapters/whole-file.ts';
import { readImage } from '../formats/erofs-read.ts';
import { badInput, refused, systemError } from '../formats/errors.ts';
import { parseVerityDigest } from '../formats/fsverity.ts';
import { type BackingStores, backingFolders } from './backing-stores.ts';

export interface ImageMountOptions extends BackingStores {
  image: string;
  directory: string;
  /**
   * As parseVerityDigest takes it. The image must have fs-verity with this digest, and every file that is read the digest that the image names:
   * from then on nobody can change what is seen. Without it the files are trusted.
   */
  digest?: string | undefined;
}

/** Throws what readImage throws, `image-verity-missing`, `verity-mismatch`, `mount-failed`; nothing is mounted then. */
export function imageMount(options: ImageMountOptions): void {
  const { image, directory, digest } = options;
  const basedirs = backingFolders(options).map((folder) => pathBytes(resolve(folder)));
  const expected = digest === undefined ? undefined : parseVerityDigest(digest);
  const fd = openImage(image);
  try {
    if (expected !== undefined) requireMeasured(fd, image, expected);
    readImage(readWhole(fd, pathBytes(image)));
    mountComposefs(fd, pathBytes(resolve(directory)), {
      basedirs,
      verity: expected === undefined ? 'none' : 'require',
      readOnly: true,
    });
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    const fact = error.message.replace(/^cannot /, '');
    const hint = error.errno === 'EPERM' ? 'run this command as root' : undefined;
    throw systemError('mount-failed', `cannot mount ${image} on ${directory}: ${fact}`, hint);
  } finally {
    closeSync(fd);
  }
}

function openImage(image: string): number {
  let fd: number;
  try {
    fd = openSync(image, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw fileError('read', image, error);
  }
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw badInput('not-a-regular-file', `cannot mount ${image}: not a regular file`);
}

function requireMeasured(
  fd: number,
  image: string,
  { digest, algorithm }: ReturnType<typeof parseVerityDigest>,
): void {
  const measured = measureVerity(fd, image, algorithm);
  if (measured === undefined) {
    throw refused(
      'image-verity-missing',
      `cannot mount ${image} by its digest: it has no fs-verity`,
      'fsverity enable, or leave --digest out and trust the file',
    );
  }
  requireDigest(measured, digest, image);
}
