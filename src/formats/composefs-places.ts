/** Where libcomposefs puts inodes, directory entries and data blocks, and in which form. */

import { roundUp } from './bytes.ts';
import { direntsEnd, nameOffset } from './erofs-dirents.ts';
import type { ErofsImage } from './erofs-image.ts';
import {
  compareTimes,
  ErofsInode,
  gidOf,
  isChunked,
  isExtended,
  mtimeAt,
  nlinkOf,
  sizeOf,
  uidOf,
  unionOf,
  xattrStartOf,
} from './erofs-inode.ts';
import * as layout from './erofs-layout.ts';
import { inPieces, NONE } from './erofs-tables.ts';
import { requireZeros } from './erofs-zeros.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './tree.ts';

const { BLOCK_SIZE, COMPACT, DIRENT, DIRENT_SIZE, EXTENDED, FORMAT_EXTENDED, MAX_TAIL, SLOT_SIZE, SUPER } =
  layout;
const MAX_U16 = 0xffff;
const MAX_U32 = 0xffffffff;

/** `order`: rows by place. Returns where the image has to end, and where the first of all mtimes stands. */
export function checkPlaces(
  image: ErofsImage,
  order: Int32Array,
  dataStart: number,
): { end: number; firstTime: number } {
  const firstTime = mtimeAt(image, 0);
  const next: Next = { end: SUPER.END, block: dataStart / BLOCK_SIZE, before: NONE, firstTime };
  inPieces(order.length, (from, to) => checkRows(image, order, from, to, next));
  requireZeros(image, next.end, roundUp(next.end, SLOT_SIZE), 'behind the last inode');
  return { end: next.block * BLOCK_SIZE, firstTime: next.firstTime };
}

/** What is known so far: where the inode `before` ends, the first free block, and where the first mtime stands. */
interface Next {
  end: number;
  block: number;
  before: number;
  firstTime: number;
}

function checkRows(image: ErofsImage, order: Int32Array, from: number, to: number, next: Next): void {
  const { words } = image;
  const { blocks, format, index, mode, offset, tail, xattrEnd } = image.inodes;
  let { end, block, before, firstTime } = next;
  for (let i = from; i < to; i++) {
    const row = order[i] as number;
    const at = offset[row] as number;
    const form = format[row] as number;
    const type = (mode[row] as number) & S_IFMT;
    if (words[(at + COMPACT.INO) >> 2] !== index[row]) checkNumber(image, row, before);
    if ((form & FORMAT_EXTENDED) !== 0) checkExtended(image, row, at);
    else if (words[(at + COMPACT.RESERVED) >> 2] !== 0 || words[(at + COMPACT.RESERVED2) >> 2] !== 0) {
      refuseReserved(image, row, at);
    }
    const found = tail[row] as number;
    const due = dueTail(image, row, type, found);
    const head = (xattrEnd[row] as number) - at;
    const start = (end + SLOT_SIZE - 1) & -SLOT_SIZE;
    // What ends before its block does is neither moved nor parted.
    const fits = (start & (BLOCK_SIZE - 1)) + head + due < BLOCK_SIZE;
    const place = fits ? undefined : layout.placeInode(type === S_IFLNK, start, head, due);
    const dueAt = place === undefined ? start : place.offset;
    const dueBehind = place?.moved ? 0 : due;
    if (at !== dueAt) {
      const fact = `an inode stands there, composefs would put it at ${dueAt},`;
      mismatch(image, row, 'composefs-placement-mismatch', fact);
    }
    if (end < at) requireZeros(image, end, at, 'before an inode', row);
    if (found !== dueBehind) {
      const fact = `${found} bytes of data stand behind an inode, composefs would put ${dueBehind} there,`;
      mismatch(image, row, 'composefs-tail-mismatch', fact);
    }
    const chunked = form >> layout.FORMAT_LAYOUT_SHIFT === layout.LAYOUT_CHUNK_BASED;
    const rest = (words[(at + COMPACT.U) >> 2] as number) & (chunked ? ~layout.CHUNK_BITS_MASK : -1);
    if (rest !== 0 || blocks[row] !== 0 || type === S_IFDIR) block = checkBlocks(image, row, block);
    const time = (form & FORMAT_EXTENDED) === 0 ? SUPER.BUILD_TIME : at + EXTENDED.MTIME;
    if (time !== firstTime && compareTimes(image, time, firstTime) < 0) firstTime = time;
    end = (xattrEnd[row] as number) + found;
    before = row;
  }
  Object.assign(next, { end, block, before, firstTime });
}

function mismatch(image: ErofsImage, row: number, code: string, fact: string): void {
  const inode = new ErofsInode(image, row);
  image.findings.add(code, inode.offset, fact, inode);
}

function checkExtended(image: ErofsImage, row: number, offset: number): void {
  const { words } = image;
  const reserved = (offset + EXTENDED.RESERVED2) >> 2;
  if (!needsExtended(image, row)) {
    const fact = 'an inode is extended that would fit a compact one';
    mismatch(image, row, 'composefs-inode-form-mismatch', fact);
  }
  // One look at all of it.
  const rest =
    ((words[(offset + EXTENDED.MODE) >> 2] as number) >>> 16) |
    (words[reserved] as number) |
    (words[reserved + 1] as number) |
    (words[reserved + 2] as number) |
    (words[reserved + 3] as number);
  if (rest !== 0) refuseReserved(image, row, offset);
}

function refuseReserved(image: ErofsImage, row: number, offset: number): void {
  const [first, firstEnd, second] = isExtended(image, row)
    ? [EXTENDED.RESERVED, EXTENDED.SIZE, EXTENDED.RESERVED2]
    : [COMPACT.RESERVED, COMPACT.U, COMPACT.RESERVED2];
  requireZeros(image, offset + first, offset + firstEnd, 'in an inode', row);
  requireZeros(image, offset + second, xattrStartOf(image, row), 'in an inode', row);
}

/** i_ino: the number it says that it has. */
function inoOf({ inodes, words }: ErofsImage, row: number): number {
  return (words[((inodes.offset[row] as number) + COMPACT.INO) >> 2] as number) >>> 0;
}

/** Who follows one with a wrong number is not blamed for it. */
function checkNumber(image: ErofsImage, row: number, before: number): void {
  const ino = inoOf(image, row);
  if (before !== NONE && ino - 1 === inoOf(image, before)) return;
  const fact = `inode ${image.inodes.index[row]} has the number ${ino}`;
  mismatch(image, row, 'composefs-inode-number-mismatch', fact);
}

function needsExtended(image: ErofsImage, row: number): boolean {
  if (compareTimes(image, mtimeAt(image, row), SUPER.BUILD_TIME) !== 0) return true;
  if (nlinkOf(image, row) > MAX_U16 || sizeOf(image, row) > MAX_U32) return true;
  if (uidOf(image, row) > MAX_U16 || gidOf(image, row) > MAX_U16) return true;
  const type = (image.inodes.mode[row] as number) & S_IFMT;
  // Of these libcomposefs goes by a size that it then does not write; its own whiteouts have none.
  const isWhiteout = type === S_IFCHR && unionOf(image, row) === 0;
  return type !== S_IFREG && type !== S_IFDIR && type !== S_IFLNK && !isWhiteout;
}

/** Bytes that stand behind the inode when they fit there; `found`: those that do. */
function dueTail(image: ErofsImage, row: number, type: number, found: number): number {
  if (type === S_IFDIR) return found;
  if (type === S_IFLNK) return sizeOf(image, row);
  if (type !== S_IFREG) return 0;
  if (!isChunked(image, row)) return layout.tailOfContent(sizeOf(image, row));
  // A list of chunks that stands behind it is all of the list.
  return found > 0 ? found : layout.CHUNK_INDEX_SIZE * layout.chunkCount(sizeOf(image, row));
}

/** Returns the next free block. */
function checkBlocks(image: ErofsImage, row: number, block: number): number {
  const { inodes } = image;
  const type = (inodes.mode[row] as number) & S_IFMT;
  if (type === S_IFCHR || type === S_IFBLK) return block;
  const blocks = inodes.blocks[row] as number;
  const union = unionOf(image, row);
  const address = blocks > 0 ? block : 0;
  const chunked = isChunked(image, row);
  // The size of the chunks was compared when the inode was read.
  const due = chunked ? ((address & 0xffff0000) | (union & layout.CHUNK_BITS_MASK)) >>> 0 : address;
  if (union !== due) {
    const what = chunked ? 'chunk format' : 'first block';
    mismatch(
      image,
      row,
      'composefs-block-mismatch',
      `the ${what} is ${union}, composefs would write ${due},`,
    );
  }
  if (type === S_IFDIR) checkPacking(image, row);
  if (blocks === 0) return block;
  if (chunked) {
    requireHoles(image, row, block * BLOCK_SIZE);
    return block + blocks;
  }
  const start = union * BLOCK_SIZE;
  if (type !== S_IFDIR) {
    const end = start + sizeOf(image, row) - (inodes.tail[row] as number);
    requireZeros(image, end, start + blocks * BLOCK_SIZE, 'behind data', row);
  }
  return union + blocks;
}

/** A chunk list that did not fit behind its inode fills a block: nothing in the image says which. */
function requireHoles(image: ErofsImage, row: number, start: number): void {
  const end = start + BLOCK_SIZE;
  for (let at = start; at < end; at++) {
    if (image.bytes[at] === 0xff) continue;
    const fact = 'a list of chunks is not all holes';
    image.findings.add('composefs-chunk-list-mismatch', at, fact, new ErofsInode(image, row));
    return;
  }
}

/** Entries fill block after block; what is left goes behind the inode when it is small enough. */
function checkPacking(image: ErofsImage, row: number): void {
  const { inodes } = image;
  const blocks = inodes.blocks[row] as number;
  const tail = inodes.tail[row] as number;
  let used = BLOCK_SIZE;
  for (let i = 0; i < blocks; i++) {
    const start = (unionOf(image, row) + i) * BLOCK_SIZE;
    used = checkChunk(image, row, start, direntsEnd(image, start, start + BLOCK_SIZE), used);
  }
  if (tail > 0) {
    const start = inodes.xattrEnd[row] as number;
    used = checkChunk(image, row, start, start + tail, used);
  }
  if (used > MAX_TAIL !== (tail === 0)) {
    const fact = `the last ${used} bytes of entries stand ${tail > 0 ? 'behind the inode' : 'in a block'}`;
    mismatch(image, row, 'composefs-directory-packing', fact);
  }
}

/** Returns the bytes that the chunk holds. */
function checkChunk(image: ErofsImage, row: number, start: number, end: number, before: number): number {
  const names = nameOffset(image, start);
  const firstNameEnd = names > DIRENT_SIZE ? nameOffset(image, start + DIRENT_SIZE) : end - start;
  if (before + DIRENT_SIZE + firstNameEnd - names <= BLOCK_SIZE) {
    const fact = 'the block before has room for an entry';
    image.findings.add('composefs-directory-packing', start, fact, new ErofsInode(image, row));
  }
  for (let at = start; at < start + names; at += DIRENT_SIZE) {
    if (image.bytes[at + DIRENT.RESERVED] === 0) continue;
    requireZeros(image, at + DIRENT.RESERVED, at + DIRENT_SIZE, 'in a directory entry', row);
  }
  return end - start;
}
