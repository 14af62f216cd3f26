/**
 * The proof behind the second gate: what was understood of an image, laid out and written by the writer, has to be
 * the image again. The reader does not do this itself: it would take longer than all of its checks.
 */

import { toByteString } from '../../src/formats/encoding.ts';
import type { ErofsImage } from '../../src/formats/erofs-image.ts';
import { nameOf, nanosecondsAt, nlinkOf, secondsAt } from '../../src/formats/erofs-inode.ts';
import { HEADER, SUPER } from '../../src/formats/erofs-layout.ts';
import { layoutImage } from '../../src/formats/erofs-places.ts';
import type { FormatVersion } from '../../src/formats/erofs-plan.ts';
import { openImage } from '../../src/formats/erofs-read.ts';
import { visibleNode } from '../../src/formats/erofs-visible.ts';
import { emitImage } from '../../src/formats/erofs-write.ts';
import { xattrAt } from '../../src/formats/erofs-xattr-read.ts';
import { XattrPool } from '../../src/formats/erofs-xattrs.ts';
import { type CraftedInode, planOf } from './crafted-plan.ts';

/** Throws what the reader throws. */
export function rewriteImage(bytes: Uint8Array): Uint8Array {
  const image = openImage(bytes);
  const pool = new XattrPool();
  const order = [...image.inodes.index.subarray(0, image.inodes.count).keys()];
  order.sort((a, b) => (image.inodes.offset[a] as number) - (image.inodes.offset[b] as number));
  const inodes = order.map((row) => planned(image, row, pool));
  for (const [i, row] of order.entries()) (inodes[i] as CraftedInode).entries = entriesOf(image, row, inodes);
  const version = image.words[HEADER.COMPOSEFS_VERSION / 4] as FormatVersion;
  const buildTimeSec = secondsAt(image, SUPER.BUILD_TIME);
  const buildTimeNsec = nanosecondsAt(image, SUPER.BUILD_TIME);
  const plan = planOf(inodes, { version, xattrs: pool, buildTimeSec, buildTimeNsec });
  return emitImage(plan, layoutImage(plan));
}

function planned(image: ErofsImage, row: number, pool: XattrPool): CraftedInode {
  const { mode, xattrsFrom, xattrsTo } = image.inodes;
  const xattrs = [...image.xattrs.at.subarray(xattrsFrom[row], xattrsTo[row])]
    .map((at) => xattrAt(image, at))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ key, value }) => pool.use(pool.name(key), toByteString(value)));
  const node = visibleNode(image, row);
  return { node, mode: mode[row] as number, nlink: nlinkOf(image, row), xattrs, entries: [] };
}

function entriesOf(image: ErofsImage, dir: number, inodes: readonly CraftedInode[]): CraftedInode['entries'] {
  const { entriesFrom, entriesTo, index, parent } = image.inodes;
  const at = (row: number) => inodes[index[row] as number] as CraftedInode;
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
