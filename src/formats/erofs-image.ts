/**
 * Reads EROFS structures and trusts none of them: the first of the reader's two gates. What leaves this file is in
 * bounds, of a known kind, and no byte of the image belongs to two things. Whether it is something that composefs
 * writes is for erofs-read.ts to say. Compression, extra devices, fragments and real chunks are refused here.
 *
 * Source: the kernel's Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.
 */

import { atOffset, ByteReader, roundUp } from './bytes.ts';
import { type ByteString, printable, toByteString } from './encoding.ts';
import * as layout from './erofs-layout.ts';
import { badInput, type SealrootError } from './errors.ts';
import { isValidName, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './tree.ts';

export interface RawInode {
  nid: number;
  offset: number;
  extended: boolean;
  layout: number;
  mode: number;
  nlink: number;
  size: number;
  /** Device number, first block or chunk format. */
  union: number;
  uid: number;
  gid: number;
  mtimeSec: bigint;
  mtimeNsec: number;
  xattrOffset: number;
  /** Where the tail begins; also the end of the xattrs. */
  tailOffset: number;
}

export interface RawXattr {
  key: ByteString;
  value: Uint8Array;
}

export interface RawDirent {
  name: ByteString;
  nid: number;
  fileType: number;
}

const { BLOCK_SIZE, SLOT_SIZE, SUPER, COMPACT, EXTENDED, DIRENT, DIRENT_SIZE } = layout;
const MAX_SIZE = 2n ** 53n;

export function malformed(code: string, offset: number, fact: string): SealrootError {
  return badInput(code, `cannot read image: ${fact} ${atOffset(offset)}`);
}

export class ErofsImage {
  readonly reader: ByteReader;
  readonly rootNid: number;
  readonly #buildTimeSec: bigint;
  readonly #buildTimeNsec: number;
  readonly #xattrStart: number;
  readonly #inodes = new Map<number, RawInode>();
  readonly #shared = new Map<number, RawXattr>();
  /** Start and end of everything read, in pairs. */
  readonly #claims: number[] = [];
  #claimed = 0;

  /** Checks the superblock. */
  constructor(bytes: Uint8Array) {
    this.reader = new ByteReader(bytes, 'image');
    const { reader } = this;
    if (reader.u32(SUPER.MAGIC) !== layout.EROFS_MAGIC) {
      throw malformed('erofs-magic-invalid', SUPER.MAGIC, 'no EROFS magic');
    }
    reader.slice(SUPER.MAGIC, SUPER.END);
    const incompatible = reader.u32(SUPER.FEATURE_INCOMPAT);
    if (incompatible !== 0) {
      const bits = `0x${incompatible.toString(16)}`;
      throw malformed(
        'erofs-feature-unknown',
        SUPER.FEATURE_INCOMPAT,
        `incompatible features ${bits} are set`,
      );
    }
    const blockBits = reader.u8(SUPER.BLKSZBITS);
    if (blockBits !== layout.BLOCK_SIZE_LOG2) {
      throw malformed(
        'erofs-block-size-unsupported',
        SUPER.BLKSZBITS,
        `block size is 2^${blockBits}, not 2^12,`,
      );
    }
    const blocks = reader.u32(SUPER.BLOCKS);
    if (blocks * BLOCK_SIZE !== bytes.length) {
      const fact = `${blocks} blocks are declared, but the image has ${bytes.length} bytes,`;
      throw malformed('erofs-size-mismatch', SUPER.BLOCKS, fact);
    }
    this.rootNid = reader.u16(SUPER.ROOT_NID);
    this.#buildTimeSec = signed64(reader.u64(SUPER.BUILD_TIME));
    this.#buildTimeNsec = reader.u32(SUPER.BUILD_TIME_NSEC);
    this.#xattrStart = reader.u32(SUPER.XATTR_BLKADDR) * BLOCK_SIZE;
    this.#claim(0, SUPER.END);
  }

  /** Notes that these bytes are in use. The sum alone bounds all work by the size of the image. */
  #claim(start: number, end: number): void {
    this.#claimed += end - start;
    if (this.#claimed > this.reader.length) {
      throw malformed(
        'erofs-overlap',
        start,
        'more bytes are used than the image has, counted up to the data',
      );
    }
    if (end > start) this.#claims.push(start, end);
  }

  /** To be called when everything was read: no byte may have been claimed twice. */
  requireNoOverlap(): void {
    const starts: number[] = [];
    const ends = new Map<number, number>();
    for (let i = 0; i < this.#claims.length; i += 2) {
      const start = this.#claims[i] ?? 0;
      if (ends.has(start)) throw malformed('erofs-overlap', start, 'two structures share the data');
      starts.push(start);
      ends.set(start, this.#claims[i + 1] ?? 0);
    }
    starts.sort((a, b) => a - b);
    let last = 0;
    for (const start of starts) {
      if (start < last) throw malformed('erofs-overlap', start, 'two structures share the data');
      last = ends.get(start) ?? 0;
    }
  }

  /** The inode, checked and remembered: everything it refers to lies inside the image. */
  inode(nid: number, from: number): RawInode {
    const known = this.#inodes.get(nid);
    if (known !== undefined) return known;
    const offset = nid * SLOT_SIZE;
    if (offset < SUPER.END || offset + layout.INODE_COMPACT_SIZE > this.reader.length) {
      throw malformed('erofs-nid-invalid', from, `the inode number ${nid} points outside of the image`);
    }
    const inode = this.#parseInode(nid, offset);
    if (layout.direntType(inode.mode) === 0) {
      throw malformed(
        'erofs-inode-invalid',
        offset,
        `the mode 0o${inode.mode.toString(8)} has no known file type`,
      );
    }
    this.#checkXattrArea(inode);
    this.#checkData(inode);
    this.#inodes.set(nid, inode);
    return inode;
  }

  #parseInode(nid: number, offset: number): RawInode {
    const { reader } = this;
    const format = reader.u16(offset);
    const dataLayout = (format & layout.FORMAT_KNOWN_BITS) >> layout.FORMAT_LAYOUT_SHIFT;
    const known =
      dataLayout === layout.LAYOUT_FLAT_PLAIN ||
      dataLayout === layout.LAYOUT_FLAT_INLINE ||
      dataLayout === layout.LAYOUT_CHUNK_BASED;
    if (!known || (format & ~layout.FORMAT_KNOWN_BITS) !== 0) {
      throw malformed(
        'erofs-inode-format-unknown',
        offset,
        `the inode format 0x${format.toString(16)} is not known`,
      );
    }
    const extended = (format & layout.FORMAT_EXTENDED) !== 0;
    const size = extended ? reader.u64(offset + EXTENDED.SIZE) : BigInt(reader.u32(offset + COMPACT.SIZE));
    if (size > MAX_SIZE) throw malformed('erofs-inode-invalid', offset, `the size ${size} exceeds 2^53`);
    const icount = reader.u16(offset + COMPACT.XATTR_ICOUNT);
    const xattrOffset = offset + (extended ? layout.INODE_EXTENDED_SIZE : layout.INODE_COMPACT_SIZE);
    return {
      nid,
      offset,
      extended,
      layout: dataLayout,
      mode: reader.u16(offset + COMPACT.MODE),
      nlink: extended ? reader.u32(offset + EXTENDED.NLINK) : reader.u16(offset + COMPACT.NLINK),
      size: Number(size),
      union: reader.u32(offset + COMPACT.U),
      uid: extended ? reader.u32(offset + EXTENDED.UID) : reader.u16(offset + COMPACT.UID),
      gid: extended ? reader.u32(offset + EXTENDED.GID) : reader.u16(offset + COMPACT.GID),
      mtimeSec: extended ? signed64(reader.u64(offset + EXTENDED.MTIME)) : this.#buildTimeSec,
      mtimeNsec: extended ? reader.u32(offset + EXTENDED.MTIME_NSEC) : this.#buildTimeNsec,
      xattrOffset,
      tailOffset: xattrOffset + (icount === 0 ? 0 : layout.XATTR_HEADER_SIZE + 4 * (icount - 1)),
    };
  }

  #checkXattrArea(inode: RawInode): void {
    if (inode.tailOffset > this.reader.length) {
      throw malformed('erofs-xattr-invalid', inode.offset, 'the xattrs reach beyond the image, of the inode');
    }
    this.#claim(inode.offset, inode.tailOffset);
  }

  #checkData(inode: RawInode): void {
    const type = inode.mode & S_IFMT;
    const chunked = inode.layout === layout.LAYOUT_CHUNK_BASED;
    if (type !== S_IFREG && (chunked || (type !== S_IFDIR && type !== S_IFLNK))) {
      if (chunked || inode.size !== 0 || inode.layout !== layout.LAYOUT_FLAT_PLAIN) {
        throw malformed(
          'erofs-inode-invalid',
          inode.offset,
          'the file type cannot have this data, of the inode',
        );
      }
      return;
    }
    if (chunked) {
      this.#checkChunks(inode);
      return;
    }
    const { blocks, tail } = this.#extent(inode);
    if (tail > 0) {
      const end = inode.tailOffset + tail;
      if (
        end > this.reader.length ||
        Math.floor((end - 1) / BLOCK_SIZE) !== Math.floor(inode.tailOffset / BLOCK_SIZE)
      ) {
        throw malformed(
          'erofs-inode-invalid',
          inode.offset,
          `the tail of ${tail} bytes crosses a block, of the inode`,
        );
      }
      this.#claim(inode.tailOffset, end);
    }
    if (blocks > 0) {
      const start = inode.union * BLOCK_SIZE;
      if (start + blocks * BLOCK_SIZE > this.reader.length) {
        throw malformed(
          'erofs-inode-invalid',
          inode.offset,
          `${blocks} data blocks lie beyond the image, of the inode`,
        );
      }
      this.#claim(start, start + blocks * BLOCK_SIZE);
    }
  }

  #extent(inode: RawInode): { blocks: number; tail: number } {
    const inline = inode.layout === layout.LAYOUT_FLAT_INLINE;
    return {
      blocks: inline ? Math.floor(inode.size / BLOCK_SIZE) : Math.ceil(inode.size / BLOCK_SIZE),
      tail: inline ? inode.size % BLOCK_SIZE : 0,
    };
  }

  /** Only holes: libcomposefs sets every chunk so, data lies in the backing file. */
  #checkChunks(inode: RawInode): void {
    const bits = layout.BLOCK_SIZE_LOG2 + (inode.union & layout.CHUNK_BITS_MASK);
    const size = Math.ceil(inode.size / 2 ** bits) * layout.CHUNK_INDEX_SIZE;
    if (inode.size === 0 || bits !== layout.chunkBits(inode.size)) {
      throw malformed(
        'erofs-chunk-invalid',
        inode.offset,
        `chunks of 2^${bits} bytes for ${inode.size} bytes, of the inode`,
      );
    }
    // What does not fit behind the inode stands in a block whose number the inode does not tell (see erofs-write.ts).
    if (BLOCK_SIZE - (inode.tailOffset % BLOCK_SIZE) < size) return;
    for (let at = inode.tailOffset; at < inode.tailOffset + size; at += layout.CHUNK_INDEX_SIZE) {
      if (this.reader.u32(at) !== layout.CHUNK_HOLE)
        throw malformed('erofs-chunk-invalid', at, 'a chunk has data');
    }
    this.#claim(inode.tailOffset, inode.tailOffset + size);
  }

  /** Data of a flat file or link; its blocks and then its tail. */
  data(inode: RawInode): Uint8Array {
    const { blocks, tail } = this.#extent(inode);
    const start = inode.union * BLOCK_SIZE;
    const whole = blocks === 0 ? 0 : Math.min(inode.size, blocks * BLOCK_SIZE);
    if (tail === 0) return this.reader.slice(blocks === 0 ? 0 : start, (blocks === 0 ? 0 : start) + whole);
    if (whole === 0) return this.reader.slice(inode.tailOffset, inode.tailOffset + tail);
    const out = new Uint8Array(inode.size);
    out.set(this.reader.slice(start, start + whole));
    out.set(this.reader.slice(inode.tailOffset, inode.tailOffset + tail), whole);
    return out;
  }

  /** Inline xattrs as they are stored, then the shared ones. */
  xattrs(inode: RawInode): RawXattr[] {
    const { xattrOffset: start, tailOffset: end } = inode;
    if (start === end) return [];
    const out: RawXattr[] = [];
    const refs = this.reader.u8(start + 4);
    let at = start + layout.XATTR_HEADER_SIZE + refs * layout.XATTR_REF_SIZE;
    if (at > end)
      throw malformed('erofs-xattr-invalid', start, `${refs} shared xattrs do not fit the xattrs`);
    while (at < end) {
      const entry = this.#xattrEntry(at, end);
      out.push(entry.xattr);
      at = entry.end;
    }
    for (let i = 0; i < refs; i++) {
      const ref = this.reader.u32(start + layout.XATTR_HEADER_SIZE + i * layout.XATTR_REF_SIZE);
      out.push(this.#sharedXattr(this.#xattrStart + ref * 4));
    }
    const keys = new Set<string>();
    for (const { key } of out) {
      if (keys.has(key))
        throw malformed('erofs-xattr-duplicate', start, `the xattr "${printable(key)}" is repeated`);
      keys.add(key);
    }
    return out;
  }

  #sharedXattr(offset: number): RawXattr {
    let xattr = this.#shared.get(offset);
    if (xattr === undefined) {
      const entry = this.#xattrEntry(offset, this.reader.length);
      xattr = entry.xattr;
      this.#claim(offset, entry.end);
      this.#shared.set(offset, xattr);
    }
    return xattr;
  }

  #xattrEntry(at: number, limit: number): { xattr: RawXattr; end: number } {
    if (at + layout.XATTR_ENTRY_SIZE > limit)
      throw malformed('erofs-xattr-invalid', at, 'an xattr does not fit');
    const suffixLength = this.reader.u8(at);
    const index = this.reader.u8(at + 1);
    const suffixStart = at + layout.XATTR_ENTRY_SIZE;
    const valueStart = suffixStart + suffixLength;
    const valueEnd = valueStart + this.reader.u16(at + 2);
    const end = roundUp(valueEnd, 4);
    if (end > limit) throw malformed('erofs-xattr-invalid', at, 'an xattr does not fit');
    const key = layout.joinXattrName(index, toByteString(this.reader.slice(suffixStart, valueStart)));
    if (key === undefined || key.length === 0 || key.length > 255 || key.includes('\0')) {
      throw malformed('erofs-xattr-invalid', at, `an xattr has prefix ${index} and an unusable name`);
    }
    return { xattr: { key, value: this.reader.slice(valueStart, valueEnd) }, end };
  }

  /** All entries, with "." and "..", in strictly ascending order; nids are not yet looked at. */
  dirents(dir: RawInode): RawDirent[] {
    const { blocks, tail } = this.#extent(dir);
    if (dir.layout === layout.LAYOUT_FLAT_PLAIN && dir.size % BLOCK_SIZE !== 0) {
      throw malformed(
        'erofs-directory-invalid',
        dir.offset,
        `the size ${dir.size} is not whole blocks, of the directory`,
      );
    }
    const out: RawDirent[] = [];
    for (let i = 0; i < blocks; i++) {
      const start = (dir.union + i) * BLOCK_SIZE;
      this.#direntChunk(out, start, start + BLOCK_SIZE, true);
    }
    if (tail > 0) this.#direntChunk(out, dir.tailOffset, dir.tailOffset + tail, false);
    return out;
  }

  #direntChunk(out: RawDirent[], start: number, end: number, padded: boolean): void {
    const { reader } = this;
    const namesStart = end - start < DIRENT_SIZE ? 0 : reader.u16(start + DIRENT.NAMEOFF);
    if (namesStart === 0 || namesStart % DIRENT_SIZE !== 0 || start + namesStart > end) {
      throw malformed('erofs-directory-invalid', start, `names at ${namesStart} do not follow the entries`);
    }
    let last = out.at(-1)?.name ?? '';
    let nameStart = start + namesStart;
    for (let at = start; at < start + namesStart; at += DIRENT_SIZE) {
      const isLast = at + DIRENT_SIZE === start + namesStart;
      let nameEnd = isLast ? end : start + reader.u16(at + DIRENT_SIZE + DIRENT.NAMEOFF);
      if (isLast && padded) nameEnd = this.#trimZeros(nameStart, end);
      if (nameEnd <= nameStart || nameEnd > end) {
        throw malformed('erofs-directory-invalid', at, 'a name is empty or beyond its block, of the entry');
      }
      const name = toByteString(reader.slice(nameStart, Math.min(nameEnd, nameStart + 256)));
      if (!isValidName(name) && name !== '.' && name !== '..') {
        throw malformed('erofs-name-invalid', nameStart, `"${printable(name)}" is not a file name`);
      }
      if (name <= last) {
        const code = name === last ? 'erofs-name-duplicate' : 'erofs-directory-unsorted';
        throw malformed(code, at, `"${printable(name)}" follows "${printable(last)}"`);
      }
      const nid = reader.u32(at + DIRENT.NID) + reader.u32(at + DIRENT.NID + 4) * 2 ** 32;
      out.push({ name, nid, fileType: reader.u8(at + DIRENT.FILE_TYPE) });
      last = name;
      nameStart = nameEnd;
    }
  }

  #trimZeros(start: number, end: number): number {
    let at = start;
    while (at < end && this.reader.bytes[at] !== 0) at++;
    return at;
  }
}

function signed64(value: bigint): bigint {
  return value >= 2n ** 63n ? value - 2n ** 64n : value;
}
