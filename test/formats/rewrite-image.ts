/**
 * The proof behind the second gate: what was understood of an image, laid out and written by the writer, has to be
 * the image again. The reader does not do this itself: it would take longer than all of its checks.
 */

import { toByteString } from '../../src/formats/encoding.ts';
import type { ErofsImage } from '../../src/formats/erofs-image.ts';
import {
  isChunked,
  nameOf,
  nanosecondsAt,
  nlinkOf,
  secondsAt,
  sizeOf,
} from '../../src/formats/erofs-inode.ts';
import { HEADER, SUPER } from '../../src/formats/erofs-layout.ts';
import { type FormatVersion, type Inode, newInode } from '../../src/formats/erofs-plan.ts';
import { openImage } from '../../src/formats/erofs-read.ts';
import { visibleNode } from '../../src/formats/erofs-visible.ts';
import { emitImage, layoutImage } from '../../src/formats/erofs-write.ts';
import { xattrAt } from '../../src/formats/erofs-xattr-read.ts';
import { XattrPool } from '../../src/formats/erofs-xattrs.ts';
import { S_IFDIR, S_IFMT } from '../../src/formats/tree.ts';

/** Throws what the reader throws. */
export function rewriteImage(bytes: Uint8Array): Uint8Array {
  const image = openImage(bytes);
  const pool = new XattrPool();
  const order = [...image.inodes.index.subarray(0, image.inodes.count).keys()];
  order.sort((a, b) => (image.inodes.offset[a] as number) - (image.inodes.offset[b] as number));
  const inodes = order.map((row) => planned(image, row, pool));
  for (const [i, row] of order.entries()) {
    const isDirectory = ((image.inodes.mode[row] as number) & S_IFMT) === S_IFDIR;
    if (isDirectory) (inodes[i] as Inode).entries = entriesOf(image, row, inodes);
  }
  const version = image.words[HEADER.COMPOSEFS_VERSION / 4] as FormatVersion;
  const buildTimeSec = secondsAt(image, SUPER.BUILD_TIME);
  const buildTimeNsec = nanosecondsAt(image, SUPER.BUILD_TIME);
  const plan = { version, inodes, xattrs: pool, buildTimeSec, buildTimeNsec };
  return emitImage(plan, layoutImage(plan));
}

function planned(image: ErofsImage, row: number, pool: XattrPool): Inode {
  const { index, mode, xattrsFrom, xattrsTo } = image.inodes;
  const inode = newInode(visibleNode(image, row), undefined);
  inode.ino = index[row] as number;
  inode.mode = mode[row] as number;
  inode.nlink = nlinkOf(image, row);
  inode.external = isChunked(image, row);
  inode.size = sizeOf(image, row);
  inode.xattrs = [...image.xattrs.at.subarray(xattrsFrom[row], xattrsTo[row])]
    .map((at) => xattrAt(image, at))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ key, value }) => pool.use(pool.name(key), toByteString(value)));
  return inode;
}

function entriesOf(image: ErofsImage, dir: number, inodes: readonly Inode[]): Inode['entries'] {
  const { entriesFrom, entriesTo, index, parent } = image.inodes;
  const at = (row: number) => inodes[index[row] as number] as Inode;
  const entries = [];
  for (let entry = entriesFrom[dir] as number; entry < (entriesTo[dir] as number); entry++) {
    const name = nameOf(image, entry);
    let row = image.entries.inode[entry] as number;
    if (name === '.') row = dir;
    if (name === '..') row = Math.max(parent[dir] as number, 0);
    entries.push({ name, inode: at(row) });
  }
  return entries;
}
