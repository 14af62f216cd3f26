/** A small image with one of everything, and a way to find its structures without trusting fixed offsets. */

import { parseDump } from '../../src/formats/dump-read.ts';
import { REFUSE } from '../../src/formats/erofs-findings.ts';
import { ErofsImage } from '../../src/formats/erofs-image.ts';
import { nameOf, sizeOf, unionOf, xattrStartOf } from '../../src/formats/erofs-inode.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import type { ValidatedTree } from '../../src/formats/tree.ts';

export const DIGEST = '35d02f81325122d77ec1d11baba655bc9bf8a891ab26119a41c50fa03ddfb408';
export const BACKING = `35/${DIGEST.slice(2)}`;

/** Exactly what comes out again: sizes of directories and the marks of the whiteout's parent included. */
export const FIXTURE_DUMP = [
  '/ 4096 40755 4 0 0 0 1000.0 - - - security.selinux=root',
  `/a-block 3000 100644 1 0 0 0 1000.0 - ${'c'.repeat(3000)} -`,
  '/b 5 100644 1 0 0 0 1000.0 - hello - user.only=b',
  `/c 5000000 100644 1 0 0 0 1000.5 ${BACKING} - ${DIGEST}`,
  '/d 69 40755 3 0 0 0 1000.0 - - - trusted.overlay.opaque=n user.shared=yes',
  '/d/e 59 40755 2 0 0 0 1000.0 - - - user.shared=yes',
  '/d/e/char 0 20600 1 0 0 1281 1000.0 - - -',
  '/d/e/fifo 0 10644 1 0 0 0 1000.0 - - -',
  '/d/h 5 @100644 1 0 0 0 1000.0 /b hello - user.only=b',
  '/d/link 6 120777 1 0 0 0 1000.0 target - -',
  '/w 43 40755 2 0 0 0 1000.0 - - - trusted.overlay.opaque=x user.overlay.opaque=x',
  '/w/gone 0 20644 1 0 0 0 1000.0 - - -',
  '',
].join('\n');

/** `mkcomposefs --from-file` (composefs 1.0.8) on FIXTURE_DUMP. */
export const FIXTURE_IMAGE_SHA256 = '4f60fd93e8d68acf8eb8ebae249d5a21458a72c356e8d98b15a0c4d09e81077f';
export const FIXTURE_IMAGE_VERITY = 'f571fc2c3cb5ff37dd141922e722123af841a732221d4e7e74ab2858b7772f33';

export function fixtureTree(): ValidatedTree {
  return parseDump(Buffer.from(FIXTURE_DUMP));
}

export function fixtureImage(): Uint8Array {
  return writeImage(fixtureTree());
}

/** Where the parts of an inode stand. */
export interface Located {
  readonly nid: number;
  readonly offset: number;
  readonly xattrStart: number;
  readonly xattrEnd: number;
  readonly union: number;
  readonly size: number;
  readonly blocks: number;
  readonly tail: number;
}

/** The inode at a path of the fixture. */
export function locate(bytes: Uint8Array, path: string): Located {
  const image = new ErofsImage(bytes, REFUSE);
  const { inodes } = image;
  const row = rowOf(image, path);
  const offset = inodes.offset[row] as number;
  return {
    nid: offset / 32,
    offset,
    xattrStart: xattrStartOf(image, row),
    xattrEnd: inodes.xattrEnd[row] as number,
    union: unionOf(image, row),
    size: sizeOf(image, row),
    blocks: inodes.blocks[row] as number,
    tail: inodes.tail[row] as number,
  };
}

/** Where the directory entry of a path stands. */
export function locateEntry(bytes: Uint8Array, directory: string, name: string): number {
  const image = new ErofsImage(bytes, REFUSE);
  return image.entries.at[entryOf(image, rowOf(image, directory), name)] as number;
}

function rowOf(image: ErofsImage, path: string): number {
  let row = 0;
  for (const name of path.split('/').filter((part) => part !== '')) {
    row = image.entries.inode[entryOf(image, row, name)] as number;
  }
  return row;
}

function entryOf(image: ErofsImage, dir: number, name: string): number {
  let entry = image.inodes.entriesFrom[dir] as number;
  while (entry < (image.inodes.entriesTo[dir] as number) && nameOf(image, entry) !== name) entry++;
  if (entry === image.inodes.entriesTo[dir]) throw new Error(`the fixture has no ${name}`);
  return entry;
}
