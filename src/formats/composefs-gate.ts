/**
 * The second gate: whether a well-formed EROFS image is one that composefs writes. Everything that libcomposefs
 * 1.0.8 decides is decided again from what was understood of the image, and compared: what overlayfs sees, the order
 * and the places of inodes, blocks and xattrs, and that every byte that means nothing is zero. An image that passes
 * both gates comes out the same, byte for byte, when what was read is written again; the fuzzer holds it to that.
 */

import { equalBytes, roundUp, wholeNumber } from './bytes.ts';
import { checkPlaces } from './composefs-places.ts';
import { checkXattrs, readSharedTable } from './composefs-xattrs.ts';
import { printable } from './encoding.ts';
import type { ErofsImage } from './erofs-image.ts';
import {
  compareTimes,
  ErofsInode,
  gidOf,
  mtimeAt,
  nameOf,
  nanosecondsAt,
  nlinkOf,
  secondsAt,
  uidOf,
} from './erofs-inode.ts';
import * as layout from './erofs-layout.ts';
import { OBJECT_DIR_NAMES, SELINUX, WHITEOUT_MODE } from './erofs-plan.ts';
import { inPieces, NONE } from './erofs-tables.ts';
import { interpret } from './erofs-visible.ts';
import { xattrAt } from './erofs-xattr-read.ts';
import { requireZeros } from './erofs-zeros.ts';

const { BLOCK_SIZE, HEADER, SUPER, SLOT_SIZE } = layout;

/**
 * Adds what is wrong to the findings of the image, which has a root. Where something had to be left out, places and
 * counts prove nothing and are not looked at.
 */
export function checkComposefs(image: ErofsImage): void {
  const { inodes } = image;
  checkHeader(image);
  const whiteouts: number[] = [];
  inPieces(inodes.count, (from, to) => interpret(image, from, to, whiteouts));
  checkRootWhiteouts(image, whiteouts);
  if (!image.complete) return;
  const order = inodeOrder(image);
  const last = order[inodes.count - 1] as number;
  const lastEnd = (inodes.xattrEnd[last] as number) + (inodes.tail[last] as number);
  const inodesEnd = roundUp(lastEnd, SLOT_SIZE);
  const table = readSharedTable(image, inodesEnd);
  checkXattrs(image, order, table);
  const dataStart = roundUp(table.end, BLOCK_SIZE);
  requireZeros(image, table.end, dataStart, 'between xattrs and data');
  const { end, firstTime } = checkPlaces(image, order, dataStart);
  checkSuperblock(image, inodesEnd, end, firstTime);
}

/** A field of the header or the superblock. */
function u32({ words }: ErofsImage, at: number): number {
  return (words[at >> 2] as number) >>> 0;
}

function checkHeader(image: ErofsImage): void {
  const { findings } = image;
  if (u32(image, HEADER.MAGIC) !== layout.COMPOSEFS_MAGIC) {
    findings.add('composefs-magic-invalid', HEADER.MAGIC, 'no composefs magic');
  }
  const headerVersion = u32(image, HEADER.VERSION);
  const version = u32(image, HEADER.COMPOSEFS_VERSION);
  if (headerVersion !== layout.COMPOSEFS_HEADER_VERSION || version > layout.MAX_FORMAT_VERSION) {
    const fact = `header version ${headerVersion} or format version ${version} is not known`;
    findings.add('composefs-version-unknown', HEADER.VERSION, fact);
  }
  requireZeros(image, HEADER.END, layout.SUPER_OFFSET, 'between header and superblock');
}

/** Everything that composefs writes there and that is not the reader's input. */
function checkSuperblock(image: ErofsImage, inodesEnd: number, end: number, firstTime: number): void {
  const { FEATURE_COMPAT, BUILD_TIME } = SUPER;
  const inos = wholeNumber(u32(image, SUPER.INOS), u32(image, SUPER.INOS + 4));
  const [sec, nsec] = [secondsAt(image, BUILD_TIME), nanosecondsAt(image, BUILD_TIME)];
  const xattrBlock = Math.floor(inodesEnd / BLOCK_SIZE);
  requireField(image, SUPER.CHECKSUM, 'checksum', u32(image, SUPER.CHECKSUM), 0);
  const features = u32(image, FEATURE_COMPAT);
  requireField(image, FEATURE_COMPAT, 'compatible features', features, layout.FEATURE_COMPAT);
  requireField(image, SUPER.EXTSLOTS, 'extension slots', image.bytes[SUPER.EXTSLOTS] as number, 0);
  requireField(image, SUPER.INOS, 'number of inodes', inos, image.inodes.count);
  requireField(image, BUILD_TIME, 'build time', sec, secondsAt(image, firstTime));
  requireField(image, SUPER.BUILD_TIME_NSEC, 'build time (nsec)', nsec, nanosecondsAt(image, firstTime));
  requireField(image, SUPER.BLOCKS, 'number of blocks', u32(image, SUPER.BLOCKS), end / BLOCK_SIZE);
  requireField(
    image,
    SUPER.XATTR_BLKADDR,
    'block of the xattrs',
    u32(image, SUPER.XATTR_BLKADDR),
    xattrBlock,
  );
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
 * The rows of the inodes by their place in the image. Names are met breadth first, and each inode stands where one of
 * its names is met: with a single name there is no choice.
 */
function inodeOrder(image: ErofsImage): Int32Array {
  const { count, index, offset } = image.inodes;
  const order = index.slice(0, count);
  // Rows are numbered as names are met: only hard links can bring their inodes out of order, and nothing else has one.
  if (image.inOrder) return order;
  order.sort((a, b) => (offset[a] as number) - (offset[b] as number));
  for (let i = 0; i < count; i++) index[order[i] as number] = i;
  const next = checkOrder(image, order);
  if (next !== count) {
    outOfOrder(image, order[next] as number, 'an inode stands where none of its names is met');
  }
  return order;
}

/** Returns the place of the first inode that stands where none of its names is met. */
function checkOrder(image: ErofsImage, order: Int32Array): number {
  const { entries, inodes } = image;
  let next = 1;
  for (const dir of order) {
    const to = inodes.entriesTo[dir] as number;
    for (let entry = inodes.entriesFrom[dir] as number; entry < to; entry++) {
      const row = entries.inode[entry] as number;
      if (row === NONE) continue;
      const place = inodes.index[row] as number;
      if (place === next) next++;
      else if (inodes.otherNames[row] === 0) {
        outOfOrder(image, row, 'an inode is not in breadth-first order');
        next = Math.max(next, place + 1);
      }
    }
  }
  return next;
}

function outOfOrder(image: ErofsImage, row: number, fact: string): void {
  const inode = new ErofsInode(image, row);
  image.findings.add('composefs-order-invalid', inode.offset, fact, inode);
}

const OBJECT_DIR_NAME_SET: ReadonlySet<string> = new Set(OBJECT_DIR_NAMES);

/** The only real whiteouts are those that composefs itself adds to the root, one for each object directory. */
function checkRootWhiteouts(image: ErofsImage, whiteouts: readonly number[]): void {
  const { entries, inodes } = image;
  const names = new Set<string>();
  const label = selinuxLabel(image, 0);
  const to = inodes.entriesTo[0] as number;
  for (let entry = inodes.entriesFrom[0] as number; entry < to; entry++) {
    if (entries.inode[entry] !== NONE) names.add(nameOf(image, entry));
  }
  const missing = OBJECT_DIR_NAMES.filter((name) => !names.has(name));
  if (missing.length > 0) {
    const root = new ErofsInode(image, 0);
    const fact = `the root does not hide ${missing.length} of 256 object directories, the first is ${missing[0]},`;
    image.findings.add('composefs-root-whiteout-missing', root.offset, fact, root);
  }
  for (const row of whiteouts) {
    if (isGenuine(image, row, label)) continue;
    const inode = new ErofsInode(image, row);
    const fact = `"${printable(inode.name)}" is a real whiteout`;
    image.findings.add('composefs-whiteout-invalid', inode.offset, fact, inode);
  }
}

function isGenuine(image: ErofsImage, row: number, label: Uint8Array | undefined): boolean {
  const { inodes } = image;
  const own = selinuxLabel(image, row);
  const xattrs = (inodes.xattrsTo[row] as number) - (inodes.xattrsFrom[row] as number);
  return (
    inodes.parent[row] === 0 &&
    OBJECT_DIR_NAME_SET.has(nameOf(image, inodes.firstEntry[row] as number)) &&
    inodes.otherNames[row] === 0 &&
    inodes.mode[row] === WHITEOUT_MODE &&
    nlinkOf(image, row) === 1 &&
    uidOf(image, row) === uidOf(image, 0) &&
    gidOf(image, row) === gidOf(image, 0) &&
    compareTimes(image, mtimeAt(image, row), mtimeAt(image, 0)) === 0 &&
    xattrs === (label === undefined ? 0 : 1) &&
    (label === undefined || own === undefined ? label === own : equalBytes(label, own))
  );
}

function selinuxLabel(image: ErofsImage, row: number): Uint8Array | undefined {
  const { inodes, xattrs } = image;
  const to = inodes.xattrsTo[row] as number;
  for (let i = inodes.xattrsFrom[row] as number; i < to; i++) {
    const { key, value } = xattrAt(image, xattrs.at[i] as number);
    if (key === SELINUX) return value;
  }
  return undefined;
}
