/**
 * The proof behind the second gate: what was understood of an image, laid out and written by the writer, has to be
 * the image again. The reader does not do this itself: it would take longer than all of its checks.
 */

import { checkComposefs } from '../../src/formats/composefs-gate.ts';
import { ascii, toByteString } from '../../src/formats/encoding.ts';
import { REFUSE } from '../../src/formats/erofs-findings.ts';
import { ErofsImage } from '../../src/formats/erofs-image.ts';
import type { ErofsInode } from '../../src/formats/erofs-inode.ts';
import { HEADER, LAYOUT_CHUNK_BASED } from '../../src/formats/erofs-layout.ts';
import { type FormatVersion, type Inode, newInode } from '../../src/formats/erofs-plan.ts';
import { checkSuperblock } from '../../src/formats/erofs-super.ts';
import { visibleNode } from '../../src/formats/erofs-visible.ts';
import { emitImage, layoutImage } from '../../src/formats/erofs-write.ts';
import { xattrAt } from '../../src/formats/erofs-xattr-read.ts';
import { XattrPool } from '../../src/formats/erofs-xattrs.ts';
import { S_IFDIR, S_IFMT } from '../../src/formats/tree.ts';

/** Throws what the reader throws. */
export function rewriteImage(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  checkSuperblock(view, REFUSE);
  const image = new ErofsImage(bytes, view, REFUSE);
  checkComposefs(image);
  const pool = new XattrPool();
  const order = [...image.inodes].sort((a, b) => a.offset - b.offset);
  const inodes = order.map((raw) => planned(image, raw, pool));
  for (const [i, raw] of order.entries()) {
    if ((raw.mode & S_IFMT) === S_IFDIR) (inodes[i] as Inode).entries = entriesOf(raw, inodes);
  }
  const version = view.getUint32(HEADER.COMPOSEFS_VERSION, true) as FormatVersion;
  const { sec, nsec } = image.buildTime;
  const plan = { version, inodes, xattrs: pool, buildTimeSec: sec, buildTimeNsec: nsec };
  return emitImage(plan, layoutImage(plan));
}

function planned(image: ErofsImage, raw: ErofsInode, pool: XattrPool): Inode {
  const inode = newInode(visibleNode(image, raw), undefined);
  inode.ino = raw.index;
  inode.mode = raw.mode;
  inode.nlink = raw.nlink;
  inode.external = raw.layout === LAYOUT_CHUNK_BASED;
  inode.size = raw.size;
  inode.xattrs = image.xattrs
    .slice(raw.xattrsFrom, raw.xattrsTo)
    .map((at) => xattrAt(image, at))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ key, value }) => pool.use(pool.name(key), toByteString(value)));
  return inode;
}

function entriesOf(raw: ErofsInode, inodes: readonly Inode[]): Inode['entries'] {
  const at = (index: number) => inodes[index] as Inode;
  return [
    { name: ascii('.'), inode: at(raw.index) },
    { name: ascii('..'), inode: at((raw.parent ?? raw).index) },
    ...raw.entries.map(({ name, inode }) => ({ name, inode: at(inode.index) })),
  ].sort((a, b) => (a.name < b.name ? -1 : 1));
}
