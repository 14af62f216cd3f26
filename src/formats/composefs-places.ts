/** Where libcomposefs puts inodes, directory entries and data blocks, and in which form. */

import { roundUp } from './bytes.ts';
import { direntsEnd } from './erofs-dirents.ts';
import type { ErofsImage } from './erofs-image.ts';
import type { ErofsInode } from './erofs-inode.ts';
import * as layout from './erofs-layout.ts';
import { requireZeros } from './erofs-zeros.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './tree.ts';

const { BLOCK_SIZE, COMPACT, DIRENT, DIRENT_SIZE, EXTENDED, LAYOUT_CHUNK_BASED, MAX_TAIL, SLOT_SIZE } =
  layout;
const MAX_U16 = 0xffff;
const MAX_U32 = 0xffffffff;

/** `order` by place. Returns where the image has to end. */
export function checkPlaces(image: ErofsImage, order: readonly ErofsInode[], dataStart: number): number {
  let end: number = layout.SUPER.END;
  let block = dataStart / BLOCK_SIZE;
  for (const inode of order) {
    checkForm(image, inode, order[inode.index - 1]);
    const isLink = (inode.mode & S_IFMT) === S_IFLNK;
    const tail = dueTail(inode);
    const start = roundUp(end, SLOT_SIZE);
    const due = layout.placeInode(isLink, start, inode.xattrEnd - inode.offset, tail);
    if (inode.offset !== due.offset) {
      const fact = `an inode stands there, composefs would put it at ${due.offset},`;
      image.findings.add('composefs-placement-mismatch', inode.offset, fact, inode);
    }
    requireZeros(image, end, inode.offset, 'before an inode', inode);
    if (inode.tail !== (due.moved ? 0 : tail)) {
      const fact = `${inode.tail} bytes of data stand behind an inode, composefs would put ${due.moved ? 0 : tail} there,`;
      image.findings.add('composefs-tail-mismatch', inode.offset, fact, inode);
    }
    block = checkBlocks(image, inode, block);
    end = inode.xattrEnd + inode.tail;
  }
  requireZeros(image, end, roundUp(end, SLOT_SIZE), 'behind the last inode');
  return block * BLOCK_SIZE;
}

function checkForm(image: ErofsImage, inode: ErofsInode, before: ErofsInode | undefined): void {
  const { offset, extended, index, ino } = inode;
  const { findings } = image;
  // Who follows one with a wrong number is not blamed for it.
  if (ino !== index && ino - 1 !== before?.ino) {
    findings.add('composefs-inode-number-mismatch', offset, `inode ${index} has the number ${ino}`, inode);
  }
  if (extended) {
    if (!needsExtended(image, inode)) {
      findings.add(
        'composefs-inode-form-mismatch',
        offset,
        'an inode is extended that would fit a compact one',
        inode,
      );
    }
    requireZeros(image, offset + EXTENDED.RESERVED, offset + EXTENDED.SIZE, 'in an inode', inode);
    requireZeros(image, offset + EXTENDED.RESERVED2, inode.xattrStart, 'in an inode', inode);
  } else {
    requireZeros(image, offset + COMPACT.RESERVED, offset + COMPACT.U, 'in an inode', inode);
    requireZeros(image, offset + COMPACT.RESERVED2, inode.xattrStart, 'in an inode', inode);
  }
}

function needsExtended({ buildTime }: ErofsImage, inode: ErofsInode): boolean {
  const { mtimeSec, mtimeNsec, nlink, uid, gid, size, mode, union } = inode;
  if (mtimeSec !== buildTime.sec || mtimeNsec !== buildTime.nsec) return true;
  if (nlink > MAX_U16 || uid > MAX_U16 || gid > MAX_U16 || size > MAX_U32) return true;
  const type = mode & S_IFMT;
  // Of these libcomposefs goes by a size that it then does not write; its own whiteouts have none.
  return type !== S_IFREG && type !== S_IFDIR && type !== S_IFLNK && !(type === S_IFCHR && union === 0);
}

/** Bytes that stand behind the inode when they fit there. */
function dueTail(inode: ErofsInode): number {
  switch (inode.mode & S_IFMT) {
    case S_IFLNK:
      return inode.size;
    case S_IFDIR:
      return inode.tail;
    case S_IFREG:
      return inode.layout === LAYOUT_CHUNK_BASED
        ? layout.CHUNK_INDEX_SIZE * layout.chunkCount(inode.size)
        : layout.tailOfContent(inode.size);
    default:
      return 0;
  }
}

/** Returns the next free block. */
function checkBlocks(image: ErofsImage, inode: ErofsInode, block: number): number {
  const { blocks, mode, union } = inode;
  const type = mode & S_IFMT;
  if (type === S_IFCHR || type === S_IFBLK) return block;
  const address = blocks > 0 ? block : 0;
  const chunked = inode.layout === LAYOUT_CHUNK_BASED;
  const bits = chunked ? layout.chunkBits(inode.size) - layout.BLOCK_SIZE_LOG2 : 0;
  const due = chunked ? ((address & 0xffff0000) | bits) >>> 0 : address;
  if (union !== due) {
    const what = chunked ? 'chunk format' : 'first block';
    const fact = `the ${what} is ${union}, composefs would write ${due},`;
    image.findings.add('composefs-block-mismatch', inode.offset, fact, inode);
  }
  if (type === S_IFDIR) checkPacking(image, inode);
  else if (chunked && blocks > 0) requireHoles(image, inode, block * BLOCK_SIZE);
  else if (blocks > 0) {
    const start = union * BLOCK_SIZE;
    requireZeros(image, start + inode.size - inode.tail, start + blocks * BLOCK_SIZE, 'behind data', inode);
  }
  return (chunked ? block : blocks > 0 ? union : block) + blocks;
}

/** A chunk list that did not fit behind its inode fills a block: nothing in the image says which. */
function requireHoles(image: ErofsImage, inode: ErofsInode, start: number): void {
  const end = start + BLOCK_SIZE;
  for (let at = start; at < end; at++) {
    if (image.bytes[at] === 0xff) continue;
    image.findings.add('composefs-chunk-list-mismatch', at, 'a list of chunks is not all holes', inode);
    return;
  }
}

/** Entries fill block after block; what is left goes behind the inode when it is small enough. */
function checkPacking(image: ErofsImage, dir: ErofsInode): void {
  let used = BLOCK_SIZE;
  for (let i = 0; i < dir.blocks; i++) {
    const start = (dir.union + i) * BLOCK_SIZE;
    used = checkChunk(image, dir, start, direntsEnd(image, start, start + BLOCK_SIZE), used);
  }
  if (dir.tail > 0) used = checkChunk(image, dir, dir.xattrEnd, dir.xattrEnd + dir.tail, used);
  if (used > MAX_TAIL !== (dir.tail === 0)) {
    const fact = `the last ${used} bytes of entries stand ${dir.tail > 0 ? 'behind the inode' : 'in a block'}`;
    image.findings.add('composefs-directory-packing', dir.offset, fact, dir);
  }
}

/** Returns the bytes that the chunk holds. */
function checkChunk(image: ErofsImage, dir: ErofsInode, start: number, end: number, before: number): number {
  const { view } = image;
  const names = view.getUint16(start + DIRENT.NAMEOFF, true);
  const firstNameEnd =
    names > DIRENT_SIZE ? view.getUint16(start + DIRENT_SIZE + DIRENT.NAMEOFF, true) : end - start;
  if (before + DIRENT_SIZE + firstNameEnd - names <= BLOCK_SIZE) {
    image.findings.add('composefs-directory-packing', start, 'the block before has room for an entry', dir);
  }
  for (let at = start; at < start + names; at += DIRENT_SIZE) {
    requireZeros(image, at + DIRENT.RESERVED, at + DIRENT_SIZE, 'in a directory entry', dir);
  }
  return end - start;
}
