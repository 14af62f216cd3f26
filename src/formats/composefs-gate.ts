/**
 * The second gate: whether a well-formed EROFS image is one that composefs writes. Everything that libcomposefs
 * 1.0.8 decides is decided again from what was understood of the image, and compared: what overlayfs sees, the order
 * and the places of inodes, blocks and xattrs, and that every byte that means nothing is zero. An image that passes
 * both gates comes out the same, byte for byte, when what was read is written again; the fuzzer holds it to that.
 */

import { equalBytes, roundUp } from './bytes.ts';
import { checkPlaces } from './composefs-places.ts';
import { checkXattrs, readSharedTable } from './composefs-xattrs.ts';
import { printable } from './encoding.ts';
import type { ErofsImage } from './erofs-image.ts';
import type { ErofsInode } from './erofs-inode.ts';
import * as layout from './erofs-layout.ts';
import { OBJECT_DIR_NAMES, SELINUX, WHITEOUT_MODE } from './erofs-plan.ts';
import { interpret, isRealWhiteout } from './erofs-visible.ts';
import { xattrAt } from './erofs-xattr-read.ts';
import { requireZeros } from './erofs-zeros.ts';

const { BLOCK_SIZE, HEADER, SUPER, SLOT_SIZE } = layout;

/**
 * Adds what is wrong to the findings of the image, which has a root. Where something had to be left out, places and
 * counts prove nothing and are not looked at.
 */
export function checkComposefs(image: ErofsImage): void {
  checkHeader(image);
  for (const inode of image.inodes) interpret(image, inode);
  checkRootWhiteouts(image);
  if (!image.complete) return;
  const order = inodeOrder(image);
  const inodesEnd = roundUp(endOf(order.at(-1) as ErofsInode), SLOT_SIZE);
  const table = readSharedTable(image, inodesEnd);
  checkXattrs(image, order, table);
  const dataStart = roundUp(table.end, BLOCK_SIZE);
  requireZeros(image, table.end, dataStart, 'between xattrs and data');
  const end = checkPlaces(image, order, dataStart);
  checkSuperblock(image, order, inodesEnd, end);
}

function endOf(inode: ErofsInode): number {
  return inode.xattrEnd + inode.tail;
}

function checkHeader(image: ErofsImage): void {
  const { view, findings } = image;
  if (view.getUint32(HEADER.MAGIC, true) !== layout.COMPOSEFS_MAGIC) {
    findings.add('composefs-magic-invalid', HEADER.MAGIC, 'no composefs magic');
  }
  const headerVersion = view.getUint32(HEADER.VERSION, true);
  const version = view.getUint32(HEADER.COMPOSEFS_VERSION, true);
  if (headerVersion !== layout.COMPOSEFS_HEADER_VERSION || version > layout.MAX_FORMAT_VERSION) {
    const fact = `header version ${headerVersion} or format version ${version} is not known`;
    findings.add('composefs-version-unknown', HEADER.VERSION, fact);
  }
  requireZeros(image, HEADER.END, layout.SUPER_OFFSET, 'between header and superblock');
}

/** Everything that composefs writes there and that is not the reader's input. */
function checkSuperblock(
  image: ErofsImage,
  order: readonly ErofsInode[],
  inodesEnd: number,
  end: number,
): void {
  const { view } = image;
  let { mtimeSec: sec, mtimeNsec: nsec } = order[0] as ErofsInode;
  for (const inode of order) {
    if (inode.mtimeSec < sec || (inode.mtimeSec === sec && inode.mtimeNsec < nsec)) {
      sec = inode.mtimeSec;
      nsec = inode.mtimeNsec;
    }
  }
  const inos = view.getUint32(SUPER.INOS, true) + view.getUint32(SUPER.INOS + 4, true) * 2 ** 32;
  const u32 = (offset: number) => view.getUint32(offset, true);
  requireField(image, SUPER.CHECKSUM, 'checksum', u32(SUPER.CHECKSUM), 0);
  requireField(
    image,
    SUPER.FEATURE_COMPAT,
    'compatible features',
    u32(SUPER.FEATURE_COMPAT),
    layout.FEATURE_COMPAT,
  );
  requireField(image, SUPER.EXTSLOTS, 'extension slots', view.getUint8(SUPER.EXTSLOTS), 0);
  requireField(image, SUPER.INOS, 'number of inodes', inos, order.length);
  requireField(image, SUPER.BUILD_TIME, 'build time', image.buildTime.sec, sec);
  requireField(image, SUPER.BUILD_TIME_NSEC, 'build time (nsec)', image.buildTime.nsec, nsec);
  requireField(image, SUPER.BLOCKS, 'number of blocks', u32(SUPER.BLOCKS), end / BLOCK_SIZE);
  const xattrBlock = Math.floor(inodesEnd / BLOCK_SIZE);
  requireField(image, SUPER.XATTR_BLKADDR, 'block of the xattrs', u32(SUPER.XATTR_BLKADDR), xattrBlock);
  requireZeros(image, SUPER.UUID, SUPER.END, 'in the rest of the superblock');
}

function requireField<T extends number | bigint>(
  image: ErofsImage,
  at: number,
  what: string,
  is: T,
  due: T,
): void {
  if (is === due) return;
  image.findings.add(
    'composefs-superblock-mismatch',
    at,
    `the field "${what}" is ${is}, composefs would write ${due},`,
  );
}

/**
 * By place in the image. Names are met breadth first, and each inode stands where one of its names is met: with a
 * single name there is no choice.
 */
function inodeOrder(image: ErofsImage): readonly ErofsInode[] {
  const order = [...image.inodes];
  // Only hard links bring them out of order.
  if (order.some(({ offset }, i) => i > 0 && offset < (order[i - 1]?.offset ?? 0)))
    order.sort((a, b) => a.offset - b.offset);
  for (let i = 0; i < order.length; i++) (order[i] as ErofsInode).index = i;
  let next = 1;
  for (const dir of order) {
    for (const { inode } of dir.entries) {
      if (inode.index === next) next++;
      else if (inode.names === 1) {
        image.findings.add(
          'composefs-order-invalid',
          inode.offset,
          'an inode is not in breadth-first order',
          inode,
        );
        next = Math.max(next, inode.index + 1);
      }
    }
  }
  if (next !== order.length) {
    const lost = order[next] as ErofsInode;
    image.findings.add(
      'composefs-order-invalid',
      lost.offset,
      'an inode stands where none of its names is met',
      lost,
    );
  }
  return order;
}

const OBJECT_DIR_NAME_SET: ReadonlySet<string> = new Set(OBJECT_DIR_NAMES);

/** The only real whiteouts are those that composefs itself adds to the root, one for each object directory. */
function checkRootWhiteouts(image: ErofsImage): void {
  const root = image.inodes[0] as ErofsInode;
  const names = new Set<string>();
  const label = selinuxLabel(image, root);
  for (const { name } of root.entries) names.add(name);
  const missing = OBJECT_DIR_NAMES.filter((name) => !names.has(name));
  if (missing.length > 0) {
    const fact = `the root does not hide ${missing.length} of 256 object directories, the first is ${missing[0]},`;
    image.findings.add('composefs-root-whiteout-missing', root.offset, fact, root);
  }
  for (const inode of image.inodes) {
    if (!isRealWhiteout(inode) || isGenuine(image, inode, root, label)) continue;
    const fact = `"${printable(inode.name)}" is a real whiteout`;
    image.findings.add('composefs-whiteout-invalid', inode.offset, fact, inode);
  }
}

function isGenuine(
  image: ErofsImage,
  inode: ErofsInode,
  root: ErofsInode,
  label: Uint8Array | undefined,
): boolean {
  const own = selinuxLabel(image, inode);
  return (
    inode.parent === root &&
    OBJECT_DIR_NAME_SET.has(inode.name) &&
    inode.names === 1 &&
    inode.mode === WHITEOUT_MODE &&
    inode.nlink === 1 &&
    inode.uid === root.uid &&
    inode.gid === root.gid &&
    inode.mtimeSec === root.mtimeSec &&
    inode.mtimeNsec === root.mtimeNsec &&
    inode.xattrsTo - inode.xattrsFrom === (label === undefined ? 0 : 1) &&
    (label === undefined || own === undefined ? label === own : equalBytes(label, own))
  );
}

function selinuxLabel(image: ErofsImage, inode: ErofsInode): Uint8Array | undefined {
  for (let i = inode.xattrsFrom; i < inode.xattrsTo; i++) {
    const { key, value } = xattrAt(image, image.xattrs[i] ?? 0);
    if (key === SELINUX) return value;
  }
  return undefined;
}
