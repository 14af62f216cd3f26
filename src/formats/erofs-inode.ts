/**
 * One inode of an EROFS image: its fields, and where its xattrs and data lie. What comes out is in bounds and of a
 * kind that composefs knows. Compression, extra devices, fragments and chunks with data are refused here.
 *
 * Source: the kernel's Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.
 */

import type { ByteString } from './encoding.ts';
import type { Findings, Place } from './erofs-findings.ts';
import * as layout from './erofs-layout.ts';
import { MAX_FILE_BYTES, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './tree.ts';

const { BLOCK_SIZE, COMPACT, EXTENDED } = layout;

export interface ErofsEntry {
  readonly name: ByteString;
  readonly inode: ErofsInode;
}

export interface ErofsInode extends Place {
  readonly nid: number;
  readonly offset: number;
  /** Of its first name; the root's is empty. */
  readonly name: ByteString;
  readonly parent: ErofsInode | undefined;
  readonly depth: number;
  readonly extended: boolean;
  readonly layout: number;
  readonly mode: number;
  readonly nlink: number;
  readonly size: number;
  /** i_u: device number, first block or chunk format. */
  readonly union: number;
  /** i_ino: the number it says that it has. */
  readonly ino: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: bigint;
  readonly mtimeNsec: number;
  readonly xattrStart: number;
  /** End of the xattrs; the tail begins here. */
  readonly xattrEnd: number;
  /** Whole data blocks from block `union` on, and the bytes of data behind the xattrs. Chunk-based: of the chunk list. */
  readonly blocks: number;
  readonly tail: number;
  /** Its place among the inodes of the image; set by the second gate. */
  index: number;
  /** How many names it has. */
  names: number;
  /** Of a directory in name order, without "." and "..". */
  entries: readonly ErofsEntry[];
  /** In the image's list of xattrs: inline ones from `xattrsFrom`, shared ones from `sharedFrom`, up to `xattrsTo`. */
  xattrsFrom: number;
  sharedFrom: number;
  xattrsTo: number;
  /** What overlayfs takes from its xattrs, see erofs-visible.ts: where digest and backing path stand, 0 for nowhere. */
  digestAt: number;
  digestEnd: number;
  payloadAt: number;
  payloadEnd: number;
  whiteout: boolean;
  hasVisibleXattrs: boolean;
}

export interface Bytes {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly findings: Findings;
  /** False when something had to be left out: then counts and places of the rest prove nothing. */
  complete: boolean;
}

/** Times of compact inodes. */
export interface BuildTime {
  readonly sec: bigint;
  readonly nsec: number;
}

const NO_ENTRIES: readonly ErofsEntry[] = [];
const MAX_SIZE_HIGH = MAX_FILE_BYTES / 2 ** 32;

/** undefined when nothing can be said of it; the reason is among the findings. `offset` has room for a compact inode. */
export function parseInode(
  image: Bytes,
  nid: number,
  name: ByteString,
  parent: ErofsInode | undefined,
  buildTime: BuildTime,
): ErofsInode | undefined {
  const { view } = image;
  const offset = nid * layout.SLOT_SIZE;
  const place: Place = { nid, name, parent };
  const format = view.getUint16(offset, true);
  const extended = (format & layout.FORMAT_EXTENDED) !== 0;
  if (!isKnownFormat(format)) {
    const fact = `the inode format 0x${format.toString(16)} is not known`;
    return drop(image, 'erofs-inode-format-unknown', offset, fact, place);
  }
  const headSize = extended ? layout.INODE_EXTENDED_SIZE : layout.INODE_COMPACT_SIZE;
  const icount = view.getUint16(offset + COMPACT.XATTR_ICOUNT, true);
  const xattrStart = offset + headSize;
  const xattrEnd = xattrStart + (icount === 0 ? 0 : layout.XATTR_HEADER_SIZE + 4 * (icount - 1));
  if (xattrEnd > image.bytes.length) {
    const fact = 'an inode or its xattrs reach beyond the image';
    return drop(image, 'erofs-inode-truncated', offset, fact, place);
  }
  const mode = view.getUint16(offset + COMPACT.MODE, true);
  if (layout.direntType(mode) === 0) {
    const fact = `the mode 0o${mode.toString(8)} has no known file type`;
    return drop(image, 'erofs-mode-invalid', offset, fact, place);
  }
  const size = readSize(view, offset, extended);
  if (size === undefined) {
    return drop(image, 'erofs-inode-size-invalid', offset, 'a size exceeds 2^53', place);
  }
  const union = view.getUint32(offset + COMPACT.U, true);
  const dataLayout = format >> layout.FORMAT_LAYOUT_SHIFT;
  const extent = findData(image, { offset, layout: dataLayout, mode, size, union, xattrEnd, place });
  if (extent === undefined) return undefined;
  return {
    nid,
    offset,
    name,
    parent,
    depth: parent === undefined ? 0 : parent.depth + 1,
    extended,
    layout: dataLayout,
    mode,
    nlink: extended
      ? view.getUint32(offset + EXTENDED.NLINK, true)
      : view.getUint16(offset + COMPACT.NLINK, true),
    size,
    union,
    ino: view.getUint32(offset + COMPACT.INO, true),
    uid: extended ? view.getUint32(offset + EXTENDED.UID, true) : view.getUint16(offset + COMPACT.UID, true),
    gid: extended ? view.getUint32(offset + EXTENDED.GID, true) : view.getUint16(offset + COMPACT.GID, true),
    mtimeSec: extended ? view.getBigInt64(offset + EXTENDED.MTIME, true) : buildTime.sec,
    mtimeNsec: extended ? view.getUint32(offset + EXTENDED.MTIME_NSEC, true) : buildTime.nsec,
    xattrStart,
    xattrEnd,
    blocks: extent.blocks,
    tail: extent.tail,
    index: 0,
    names: 1,
    entries: NO_ENTRIES,
    xattrsFrom: 0,
    sharedFrom: 0,
    xattrsTo: 0,
    digestAt: 0,
    digestEnd: 0,
    payloadAt: 0,
    payloadEnd: 0,
    whiteout: false,
    hasVisibleXattrs: false,
  };
}

function drop(image: Bytes, code: string, offset: number, fact: string, place: Place): undefined {
  image.findings.add(code, offset, fact, place);
  image.complete = false;
}

function isKnownFormat(format: number): boolean {
  const dataLayout = format >> layout.FORMAT_LAYOUT_SHIFT;
  return (
    dataLayout === layout.LAYOUT_FLAT_PLAIN ||
    dataLayout === layout.LAYOUT_FLAT_INLINE ||
    dataLayout === layout.LAYOUT_CHUNK_BASED
  );
}

/** Exact up to 2^53; undefined above. */
function readSize(view: DataView, offset: number, extended: boolean): number | undefined {
  const low = view.getUint32(offset + COMPACT.SIZE, true);
  if (!extended) return low;
  const high = view.getUint32(offset + EXTENDED.SIZE + 4, true);
  if (high > MAX_SIZE_HIGH || (high === MAX_SIZE_HIGH && low > 0)) return undefined;
  return high * 2 ** 32 + low;
}

interface Data {
  offset: number;
  layout: number;
  mode: number;
  size: number;
  union: number;
  xattrEnd: number;
  place: Place;
}

interface Extent {
  blocks: number;
  tail: number;
}

const NO_DATA: Extent = { blocks: 0, tail: 0 };

function findData(image: Bytes, inode: Data): Extent | undefined {
  const { offset, size, place } = inode;
  const type = inode.mode & S_IFMT;
  const chunked = inode.layout === layout.LAYOUT_CHUNK_BASED;
  if (type === S_IFREG && chunked) return findChunks(image, inode);
  if (type !== S_IFREG && type !== S_IFDIR && type !== S_IFLNK) {
    if (size === 0 && inode.layout === layout.LAYOUT_FLAT_PLAIN) return NO_DATA;
    return drop(image, 'erofs-data-unexpected', offset, 'a device, FIFO or socket has data', place);
  }
  if (chunked) return drop(image, 'erofs-data-unexpected', offset, 'a directory or link has chunks', place);
  const inline = inode.layout === layout.LAYOUT_FLAT_INLINE;
  const tail = inline ? size % BLOCK_SIZE : 0;
  const blocks = inline ? (size - tail) / BLOCK_SIZE : Math.ceil(size / BLOCK_SIZE);
  if (tail > 0 && !fitsBlock(image, inode.xattrEnd, tail)) {
    const fact = `a tail of ${tail} bytes crosses a block or the end of the image`;
    return drop(image, 'erofs-tail-invalid', offset, fact, place);
  }
  if (blocks > 0 && (inode.union + blocks) * BLOCK_SIZE > image.bytes.length) {
    const fact = `${blocks} data blocks from block ${inode.union} on lie beyond the image`;
    return drop(image, 'erofs-block-invalid', offset, fact, place);
  }
  return { blocks, tail };
}

function fitsBlock(image: Bytes, start: number, size: number): boolean {
  const room = BLOCK_SIZE - (start % BLOCK_SIZE);
  return size <= room && start + size <= image.bytes.length;
}

/** Only holes: libcomposefs sets every chunk so, data lies in the backing file. */
function findChunks(image: Bytes, inode: Data): Extent | undefined {
  const { offset, size, place } = inode;
  const bits = layout.BLOCK_SIZE_LOG2 + (inode.union & layout.CHUNK_BITS_MASK);
  if (size === 0 || bits !== layout.chunkBits(size)) {
    const fact = `chunks of 2^${bits} bytes for ${size} bytes`;
    return drop(image, 'erofs-chunk-invalid', offset, fact, place);
  }
  const list = Math.ceil(size / 2 ** bits) * layout.CHUNK_INDEX_SIZE;
  // What does not fit behind the inode stands in a block whose number the inode does not tell (see erofs-write.ts).
  if (BLOCK_SIZE - (inode.xattrEnd % BLOCK_SIZE) < list) return { blocks: 1, tail: 0 };
  if (inode.xattrEnd + list > image.bytes.length) {
    return drop(image, 'erofs-chunk-invalid', offset, `${list} bytes of chunks lie beyond the image`, place);
  }
  for (let at = inode.xattrEnd; at < inode.xattrEnd + list; at += layout.CHUNK_INDEX_SIZE) {
    if (image.view.getUint32(at, true) !== layout.CHUNK_HOLE) {
      return drop(image, 'erofs-chunk-invalid', at, 'a chunk has data', place);
    }
  }
  return { blocks: 0, tail: list };
}
