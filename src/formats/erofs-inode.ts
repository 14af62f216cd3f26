/**
 * One inode of an EROFS image: its fields, and where its xattrs and data lie. What `readInode` lets through is in
 * bounds and of a kind that composefs knows. Compression, extra devices, fragments and chunks with data are refused.
 *
 * Source: the kernel's Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.
 */

import { wholeNumber } from './bytes.ts';
import { type ByteString, toByteString } from './encoding.ts';
import type { Findings, Place } from './erofs-findings.ts';
import type { ErofsImage } from './erofs-image.ts';
import * as layout from './erofs-layout.ts';
import { NONE } from './erofs-tables.ts';
import { MAX_FILE_BYTES, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './tree.ts';

const { BLOCK_SIZE, COMPACT, EXTENDED, FORMAT_EXTENDED, SUPER } = layout;
const { LAYOUT_CHUNK_BASED, LAYOUT_FLAT_INLINE, LAYOUT_FLAT_PLAIN } = layout;
/** CHUNK_HOLE as it stands among the words, which have a sign. */
const ALL_ONES = layout.CHUNK_HOLE | 0;

export interface Bytes {
  readonly bytes: Uint8Array;
  /** The same memory, in the order of the processor's bytes: little endian wherever this runs. */
  readonly words: Int32Array;
  readonly findings: Findings;
  /** False when something had to be left out: then counts and places of the rest prove nothing. */
  complete: boolean;
}

type Words = Pick<Bytes, 'words'>;

// Fields that are asked for seldom, by the row of an inode; for the others there are columns.

export function isExtended({ inodes }: ErofsImage, row: number): boolean {
  return ((inodes.format[row] as number) & FORMAT_EXTENDED) !== 0;
}

export function isChunked({ inodes }: ErofsImage, row: number): boolean {
  return (inodes.format[row] as number) >> layout.FORMAT_LAYOUT_SHIFT === layout.LAYOUT_CHUNK_BASED;
}

export function nlinkOf({ inodes, words }: ErofsImage, row: number): number {
  const offset = inodes.offset[row] as number;
  return ((inodes.format[row] as number) & FORMAT_EXTENDED) !== 0
    ? (words[(offset + EXTENDED.NLINK) >> 2] as number) >>> 0
    : (words[(offset + COMPACT.MODE) >> 2] as number) >>> 16;
}

export function sizeOf({ inodes, words }: ErofsImage, row: number): number {
  const offset = inodes.offset[row] as number;
  const low = (words[(offset + COMPACT.SIZE) >> 2] as number) >>> 0;
  if (((inodes.format[row] as number) & FORMAT_EXTENDED) === 0) return low;
  return wholeNumber(low, (words[(offset + EXTENDED.SIZE + 4) >> 2] as number) >>> 0);
}

/** i_u: device number, first block or chunk format. */
export function unionOf({ inodes, words }: ErofsImage, row: number): number {
  return (words[((inodes.offset[row] as number) + COMPACT.U) >> 2] as number) >>> 0;
}

export function uidOf({ inodes, words }: ErofsImage, row: number): number {
  const word = words[((inodes.offset[row] as number) + COMPACT.UID) >> 2] as number;
  return ((inodes.format[row] as number) & FORMAT_EXTENDED) !== 0 ? word >>> 0 : word & 0xffff;
}

export function gidOf({ inodes, words }: ErofsImage, row: number): number {
  const offset = inodes.offset[row] as number;
  return ((inodes.format[row] as number) & FORMAT_EXTENDED) !== 0
    ? (words[(offset + EXTENDED.GID) >> 2] as number) >>> 0
    : (words[(offset + COMPACT.UID) >> 2] as number) >>> 16;
}

export function xattrStartOf({ inodes }: ErofsImage, row: number): number {
  const extended = ((inodes.format[row] as number) & FORMAT_EXTENDED) !== 0;
  return (inodes.offset[row] as number) + (extended ? layout.INODE_EXTENDED_SIZE : layout.INODE_COMPACT_SIZE);
}

/** Where its mtime stands: 64 bits of seconds, then 32 bits of nanoseconds. Compact inodes have the image's. */
export function mtimeAt({ inodes }: ErofsImage, row: number): number {
  const extended = ((inodes.format[row] as number) & FORMAT_EXTENDED) !== 0;
  return extended ? (inodes.offset[row] as number) + EXTENDED.MTIME : SUPER.BUILD_TIME;
}

/** Negative when the time at `a` is before the one at `b`. */
export function compareTimes({ words }: Words, a: number, b: number): number {
  const seconds = (words[(a + 4) >> 2] as number) - (words[(b + 4) >> 2] as number);
  if (seconds !== 0) return seconds;
  const low = ((words[a >> 2] as number) >>> 0) - ((words[b >> 2] as number) >>> 0);
  if (low !== 0) return low;
  return ((words[(a + 8) >> 2] as number) >>> 0) - ((words[(b + 8) >> 2] as number) >>> 0);
}

/** The seconds of the time at an offset. */
export function secondsAt({ words }: Words, at: number): bigint {
  const low = (words[at >> 2] as number) >>> 0;
  return (BigInt(words[(at + 4) >> 2] as number) << 32n) | BigInt(low);
}

export function nanosecondsAt({ words }: Words, at: number): number {
  return (words[(at + 8) >> 2] as number) >>> 0;
}

/** An inode as an object: for messages, and for whoever looks at few of them. */
export class ErofsInode implements Place {
  readonly row: number;
  readonly #image: ErofsImage;

  constructor(image: ErofsImage, row: number) {
    this.#image = image;
    this.row = row;
  }

  get offset(): number {
    return this.#image.inodes.offset[this.row] as number;
  }

  get nid(): number {
    return this.offset / layout.SLOT_SIZE;
  }

  /** Of its first name; the root's is empty. */
  get name(): ByteString {
    const entry = this.#image.inodes.firstEntry[this.row] as number;
    return entry === NONE ? ('' as ByteString) : nameOf(this.#image, entry);
  }

  get parent(): ErofsInode | undefined {
    const parent = this.#image.inodes.parent[this.row] as number;
    return parent === NONE ? undefined : new ErofsInode(this.#image, parent);
  }
}

/** The name of an entry, by its row. */
export function nameOf({ bytes, entries }: ErofsImage, entry: number): ByteString {
  const start = entries.name[entry] as number;
  return toByteString(bytes.subarray(start, start + (entries.length[entry] as number)));
}

const MAX_SIZE_HIGH = MAX_FILE_BYTES / 2 ** 32;

/**
 * Fills in the row of the inode whose offset stands there, which has room for a compact one. False when nothing can be
 * said of it; the reason is among the findings.
 */
export function readInode(image: ErofsImage, row: number): boolean {
  const { inodes, words } = image;
  const imageEnd = image.bytes.length;
  const offset = inodes.offset[row] as number;
  const head = words[offset >> 2] as number;
  const format = head & 0xffff;
  const dataLayout = format >> layout.FORMAT_LAYOUT_SHIFT;
  const chunked = dataLayout === LAYOUT_CHUNK_BASED;
  if (dataLayout !== LAYOUT_FLAT_PLAIN && dataLayout !== LAYOUT_FLAT_INLINE && !chunked) {
    const fact = `the inode format 0x${format.toString(16)} is not known`;
    return drop(image, row, 'erofs-inode-format-unknown', fact);
  }
  const extended = (format & FORMAT_EXTENDED) !== 0;
  const xattrCount = head >>> 16;
  const start = offset + (extended ? layout.INODE_EXTENDED_SIZE : layout.INODE_COMPACT_SIZE);
  const xattrEnd = xattrCount === 0 ? start : start + layout.XATTR_HEADER_SIZE + 4 * (xattrCount - 1);
  if (xattrEnd > imageEnd) {
    return drop(image, row, 'erofs-inode-truncated', 'an inode or its xattrs reach beyond the image');
  }
  const mode = (words[(offset + COMPACT.MODE) >> 2] as number) & 0xffff;
  if (layout.direntType(mode) === 0) {
    return drop(image, row, 'erofs-mode-invalid', `the mode 0o${mode.toString(8)} has no known file type`);
  }
  let size = (words[(offset + COMPACT.SIZE) >> 2] as number) >>> 0;
  if (extended) {
    const high = (words[(offset + EXTENDED.SIZE + 4) >> 2] as number) >>> 0;
    if (high > MAX_SIZE_HIGH || (high === MAX_SIZE_HIGH && size !== 0)) {
      return drop(image, row, 'erofs-inode-size-invalid', 'a size exceeds 2^53');
    }
    size = wholeNumber(size, high);
  }
  const type = mode & S_IFMT;
  const union = (words[(offset + COMPACT.U) >> 2] as number) >>> 0;
  let blocks = 0;
  let tail = 0;
  if (type !== S_IFREG && type !== S_IFDIR && type !== S_IFLNK) {
    if (size !== 0 || dataLayout !== LAYOUT_FLAT_PLAIN) {
      return drop(image, row, 'erofs-data-unexpected', 'a device, FIFO or socket has data');
    }
  } else if (chunked) {
    if (type !== S_IFREG) {
      return drop(image, row, 'erofs-data-unexpected', 'a directory or link has chunks');
    }
    const list = chunkList(image, row, union, size, xattrEnd);
    if (list < 0) return false;
    // What does not fit behind the inode stands in a block whose number the inode does not tell (see erofs-write.ts).
    if (list <= BLOCK_SIZE - (xattrEnd % BLOCK_SIZE)) tail = list;
    else blocks = 1;
  } else {
    if (dataLayout === LAYOUT_FLAT_INLINE) tail = size % BLOCK_SIZE;
    if (tail > 0 && (tail > BLOCK_SIZE - (xattrEnd % BLOCK_SIZE) || xattrEnd + tail > imageEnd)) {
      const fact = `a tail of ${tail} bytes crosses a block or the end of the image`;
      return drop(image, row, 'erofs-tail-invalid', fact);
    }
    if (size > tail) {
      blocks = Math.ceil((size - tail) / BLOCK_SIZE);
      if ((union + blocks) * BLOCK_SIZE > imageEnd) {
        const fact = `${blocks} data blocks from block ${union} on lie beyond the image`;
        return drop(image, row, 'erofs-block-invalid', fact);
      }
    }
  }
  inodes.format[row] = format;
  inodes.mode[row] = mode;
  inodes.xattrEnd[row] = xattrEnd;
  inodes.blocks[row] = blocks;
  inodes.tail[row] = tail;
  return true;
}

function drop(image: ErofsImage, row: number, code: string, fact: string, at?: number): false {
  const inode = new ErofsInode(image, row);
  image.findings.add(code, at ?? inode.offset, fact, inode);
  image.complete = false;
  return false;
}

/** Bytes of the list. Only holes: libcomposefs sets every chunk so, data lies in the backing file. -1 for another. */
function chunkList(image: ErofsImage, row: number, union: number, size: number, start: number): number {
  const bits = layout.BLOCK_SIZE_LOG2 + (union & layout.CHUNK_BITS_MASK);
  if (size === 0 || bits !== layout.chunkBits(size)) {
    drop(image, row, 'erofs-chunk-invalid', `chunks of 2^${bits} bytes for ${size} bytes`);
    return -1;
  }
  const list = layout.CHUNK_INDEX_SIZE * layout.chunkCount(size);
  if (list > BLOCK_SIZE - (start % BLOCK_SIZE)) return list;
  if (start + list > image.bytes.length) {
    drop(image, row, 'erofs-chunk-invalid', `${list} bytes of chunks lie beyond the image`);
    return -1;
  }
  for (let at = start; at < start + list; at += layout.CHUNK_INDEX_SIZE) {
    if (image.words[at >> 2] === ALL_ONES) continue;
    drop(image, row, 'erofs-chunk-invalid', 'a chunk has data', at);
    return -1;
  }
  return list;
}
