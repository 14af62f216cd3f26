/**
 * Reads EROFS structures and trusts none of them: the first of the reader's two gates. What leaves this file is in
 * bounds, of a known kind, and no byte of the image belongs to two things. Whether it is something that composefs
 * writes is for the second gate to say, composefs-gate.ts.
 *
 * Everything is visited once, and all work is bounded by the size of the image.
 * Source: the kernel's Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.
 */

import type { ByteString } from './encoding.ts';
import { Claims } from './erofs-claims.ts';
import { isDots, nidOf, readDirents } from './erofs-dirents.ts';
import type { Findings, Place } from './erofs-findings.ts';
import {
  type Bytes,
  ErofsInode,
  isChunked,
  nameOf,
  nlinkOf,
  readInode,
  sizeOf,
  unionOf,
  xattrStartOf,
} from './erofs-inode.ts';
import * as layout from './erofs-layout.ts';
import { EntryTable, InodeTable, NONE, XattrTable } from './erofs-tables.ts';
import { checkSharedXattr, entryEnd, locateXattrs } from './erofs-xattr-read.ts';
import { MAX_DEPTH, S_IFDIR, S_IFMT } from './tree.ts';

const { BLOCK_SIZE, DIRENT, SLOT_SIZE, SUPER } = layout;
const DOT = 0x2e;

export class ErofsImage implements Bytes {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly findings: Findings;
  readonly sharedBase: number;
  readonly inodes: InodeTable;
  readonly entries: EntryTable;
  readonly xattrs: XattrTable;
  complete = true;
  /** Whether the inodes stand in the order of their rows. */
  inOrder = true;
  /** Where the first block of data stands. */
  firstData: number;
  readonly #claims: Claims;
  /** By offset: whether the shared xattr there can be used. */
  readonly #shared = new Map<number, boolean>();

  /** Only what `checkSuperblock` has accepted. Bytes that do not stand at a multiple of four are copied. */
  constructor(given: Uint8Array, findings: Findings) {
    const aligned = given.byteOffset % 4 === 0 ? given : given.slice();
    // A plain array, whatever was given: views of Node's Buffers are made slowly.
    const bytes = new Uint8Array(aligned.buffer, aligned.byteOffset, aligned.length);
    this.bytes = bytes;
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.findings = findings;
    this.firstData = bytes.length;
    this.sharedBase = ((this.words[SUPER.XATTR_BLKADDR >> 2] as number) >>> 0) * BLOCK_SIZE;
    // What it says of itself is no more than a guess here.
    const said = (this.words[SUPER.INOS >> 2] as number) >>> 0;
    const likely = Math.min(said, Math.floor(bytes.length / SLOT_SIZE));
    this.inodes = new InodeTable(likely + 1);
    this.entries = new EntryTable(2 * likely);
    this.xattrs = new XattrTable(2 * likely);
    this.#claims = new Claims(bytes.length);
    this.#claims.add(0, SUPER.END);
    this.#walk(new Int32Array(Math.floor(bytes.length / SLOT_SIZE)));
  }

  /** Where the data of a flat file or link stands; NONE when its tail stands elsewhere than its blocks. */
  dataStart(row: number): number {
    const { blocks, tail, xattrEnd } = this.inodes;
    if (blocks[row] === 0) return xattrEnd[row] as number;
    return tail[row] === 0 ? unionOf(this, row) * BLOCK_SIZE : NONE;
  }

  /** The data: a view of the image where it stands in one place. */
  data(row: number): Uint8Array {
    const { bytes, inodes } = this;
    const size = sizeOf(this, row);
    const start = this.dataStart(row);
    if (start !== NONE) return bytes.subarray(start, start + size);
    const tail = inodes.tail[row] as number;
    const tailStart = inodes.xattrEnd[row] as number;
    const blocks = unionOf(this, row) * BLOCK_SIZE;
    const out = new Uint8Array(size);
    out.set(bytes.subarray(blocks, blocks + size - tail));
    out.set(bytes.subarray(tailStart, tailStart + tail), size - tail);
    return out;
  }

  /** `known`, by nid: 1 + row of the inode; -1 for one that cannot be used. */
  #walk(known: Int32Array): void {
    const { inodes } = this;
    const nid = (this.words[SUPER.ROOT_NID >> 2] as number) >>> 16;
    if (this.#isOutside(nid)) this.#refuseNumber(nid, NONE, NONE);
    else if (this.#newInode(nid, known, NONE, NONE) !== NONE && !this.#isDirectory(0)) {
      const root = new ErofsInode(this, 0);
      this.findings.add('erofs-root-invalid', root.offset, 'the root is not a directory', root);
      inodes.count = 0;
      this.complete = false;
    }
    for (let row = 0; row < inodes.count; row++) {
      if (this.#isDirectory(row)) this.#readDirectory(row, known);
    }
  }

  #isDirectory(row: number): boolean {
    return ((this.inodes.mode[row] as number) & S_IFMT) === S_IFDIR;
  }

  #isOutside(nid: number): boolean {
    const offset = nid * SLOT_SIZE;
    return offset < SUPER.END || offset + layout.INODE_COMPACT_SIZE > this.bytes.length;
  }

  #refuseNumber(nid: number, entry: number, row: number): void {
    const parent = row === NONE ? undefined : new ErofsInode(this, row);
    const name = entry === NONE ? ('' as ByteString) : nameOf(this, entry);
    const place: Place = { nid, name, parent };
    const fact = `the inode number ${nid} points outside of the image`;
    this.findings.add('erofs-nid-invalid', parent?.offset ?? SUPER.ROOT_NID, fact, place);
    this.complete = false;
  }

  /** The row of an inode that nobody has looked at; NONE when it cannot be used. */
  #newInode(nid: number, known: Int32Array, entry: number, parent: number): number {
    const { inodes } = this;
    const row = inodes.count;
    const offset = nid * SLOT_SIZE;
    inodes.reserve();
    inodes.offset[row] = offset;
    inodes.parent[row] = parent;
    inodes.firstEntry[row] = entry;
    known[nid] = -1;
    if (!readInode(this, row)) return NONE;
    const xattrEnd = inodes.xattrEnd[row] as number;
    if (!this.#claim(offset, xattrEnd + (inodes.tail[row] as number), row)) return NONE;
    if (inodes.blocks[row] !== 0 && !isChunked(this, row) && !this.#claimBlocks(row)) return NONE;
    if (row > 0 && (inodes.offset[row - 1] as number) > offset) this.inOrder = false;
    inodes.index[row] = row;
    inodes.count = row + 1;
    known[nid] = row + 1;
    if (xattrEnd > xattrStartOf(this, row)) locateXattrs(this, row);
    return row;
  }

  #claimBlocks(row: number): boolean {
    const start = unionOf(this, row) * BLOCK_SIZE;
    this.firstData = Math.min(this.firstData, start);
    return this.#claim(start, start + (this.inodes.blocks[row] as number) * BLOCK_SIZE, row);
  }

  #claim(start: number, end: number, row: number): boolean {
    if (this.#claims.add(start, end)) return true;
    const fact = 'the data is in use for something else, too,';
    this.findings.add('erofs-overlap', start, fact, new ErofsInode(this, row));
    this.complete = false;
    return false;
  }

  #readDirectory(dir: number, known: Int32Array): void {
    const { entries, inodes } = this;
    const first = entries.count;
    const depth = dir === 0 ? 0 : (inodes.depth[inodes.parent[dir] as number] as number) + 1;
    inodes.depth[dir] = depth;
    inodes.entriesFrom[dir] = first;
    inodes.entriesTo[dir] = first;
    if (depth > MAX_DEPTH) {
      this.#report(dir, 'erofs-too-deep', `more than ${MAX_DEPTH} levels of directories`);
      this.complete = false;
      return;
    }
    readDirents(this, dir);
    inodes.entriesTo[dir] = entries.count;
    let dots = 0;
    let subdirectories = 0;
    let left = 0;
    for (let entry = first; entry < entries.count; entry++) {
      let row = NONE;
      if (this.bytes[entries.name[entry] as number] === DOT && isDots(this, entry)) {
        this.#requireDot(dir, entry);
        dots++;
      } else {
        row = this.#inodeOf(dir, entry, known);
        if (row === NONE) left++;
        else if (this.#isDirectory(row)) subdirectories++;
      }
      entries.inode[entry] = row;
    }
    if (dots !== 2) this.#report(dir, 'erofs-dot-missing', '"." or ".." is missing');
    const nlink = nlinkOf(this, dir);
    if (left === 0 && nlink !== 2 + subdirectories) {
      const fact = `the link count is ${nlink}, expected ${2 + subdirectories},`;
      this.#report(dir, 'erofs-nlink-mismatch', fact);
    }
  }

  #report(row: number, code: string, fact: string): void {
    const inode = new ErofsInode(this, row);
    this.findings.add(code, inode.offset, fact, inode);
  }

  #requireDot(dir: number, entry: number): void {
    const { entries, inodes } = this;
    const isParent = entries.length[entry] === 2 && dir > 0;
    const expected = inodes.offset[isParent ? (inodes.parent[dir] as number) : dir] as number;
    const at = entries.at[entry] as number;
    const isDirectory = this.bytes[at + DIRENT.FILE_TYPE] === layout.direntType(S_IFDIR);
    if (nidOf(this, at) * SLOT_SIZE === expected && isDirectory) return;
    const fact = `"${nameOf(this, entry)}" is another directory`;
    this.findings.add('erofs-dot-invalid', at, fact, new ErofsInode(this, dir));
  }

  /** The row of the inode that an entry of a directory names; NONE when it cannot be used. */
  #inodeOf(dir: number, entry: number, known: Int32Array): number {
    const { inodes } = this;
    const at = this.entries.at[entry] as number;
    const nid = nidOf(this, at);
    if (this.#isOutside(nid)) {
      this.#refuseNumber(nid, entry, dir);
      return NONE;
    }
    const mark = known[nid] as number;
    const row = mark === 0 ? this.#newInode(nid, known, entry, dir) : mark < 0 ? NONE : mark - 1;
    if (row === NONE) return NONE;
    const mode = inodes.mode[row] as number;
    const fileType = this.bytes[at + DIRENT.FILE_TYPE] as number;
    if (layout.direntType(mode) !== fileType) {
      const name = nameOf(this, entry);
      const fact = `"${name}" has type ${fileType} in the directory and mode 0o${mode.toString(8)}`;
      this.findings.add('erofs-file-type-mismatch', at, fact, new ErofsInode(this, dir));
    }
    if (mark === 0) return row;
    if (this.#isDirectory(row)) {
      const place: Place = { nid, name: nameOf(this, entry), parent: new ErofsInode(this, dir) };
      this.findings.add('erofs-directory-repeated', at, 'a directory has a second name', place);
      this.complete = false;
      return NONE;
    }
    inodes.otherNames[row] = (inodes.otherNames[row] as number) + 1;
    return row;
  }

  /** The shared xattr at an offset is checked and claimed once; `row` is the inode that refers to it. */
  useShared(offset: number, row: number): boolean {
    let usable = this.#shared.get(offset);
    if (usable === undefined) {
      usable = checkSharedXattr(this, offset, row) && this.#claim(offset, entryEnd(this, offset), row);
      this.#shared.set(offset, usable);
    }
    return usable;
  }
}
