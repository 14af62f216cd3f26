/**
 * Reads EROFS structures and trusts none of them: the first of the reader's two gates. What leaves this file is in
 * bounds, of a known kind, and no byte of the image belongs to two things. Whether it is something that composefs
 * writes is for the second gate to say, composefs-gate.ts.
 *
 * Everything is visited once, and all work is bounded by the size of the image.
 * Source: the kernel's Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.
 */

import type { ByteString } from './encoding.ts';
import { type RawDirent, readDirents } from './erofs-dirents.ts';
import type { Findings, Place } from './erofs-findings.ts';
import { type BuildTime, type ErofsEntry, type ErofsInode, parseInode } from './erofs-inode.ts';
import * as layout from './erofs-layout.ts';
import { checkSharedXattr, entrySize, locateXattrs, type XattrSource } from './erofs-xattr-read.ts';
import { MAX_DEPTH, S_IFDIR, S_IFMT } from './tree.ts';

const { BLOCK_SIZE, SLOT_SIZE, SUPER } = layout;

/** A shared xattr that at least one inode refers to. */
export interface SharedXattr {
  readonly usable: boolean;
  references: number;
}

export class ErofsImage implements XattrSource {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly findings: Findings;
  readonly sharedBase: number;
  readonly buildTime: BuildTime;
  /** The root first, which is a directory, then breadth first as their names are met. Empty without a usable root. */
  readonly inodes: ErofsInode[] = [];
  /** By offset. */
  readonly shared = new Map<number, SharedXattr>();
  /** Offsets of the xattrs of all inodes; which of them are an inode's, the inode says. */
  readonly xattrs: number[] = [];
  complete = true;
  /** By nid: 1 + index in `inodes`; -1 for one that cannot be used. */
  readonly #known: Int32Array;
  /** One for each word of 4 bytes: whether it is in use. */
  readonly #used: Uint8Array;
  #claimed = 0;

  /** Only superblocks that `checkSuperblock` has accepted. */
  constructor(bytes: Uint8Array, view: DataView, findings: Findings) {
    this.bytes = bytes;
    this.view = view;
    this.findings = findings;
    this.sharedBase = view.getUint32(SUPER.XATTR_BLKADDR, true) * BLOCK_SIZE;
    this.buildTime = {
      sec: view.getBigInt64(SUPER.BUILD_TIME, true),
      nsec: view.getUint32(SUPER.BUILD_TIME_NSEC, true),
    };
    this.#known = new Int32Array(Math.floor(bytes.length / SLOT_SIZE));
    this.#used = new Uint8Array(Math.ceil(bytes.length / 4));
    this.#used.fill(1, 0, SUPER.END / 4);
    this.#claimed = SUPER.END;
    this.#walk();
  }

  /** Data of a flat file or link: its blocks and then its tail. */
  data(inode: ErofsInode): Uint8Array {
    const { blocks, tail, size, xattrEnd } = inode;
    const start = inode.union * BLOCK_SIZE;
    const whole = size - tail;
    if (tail === 0)
      return blocks === 0 ? this.bytes.subarray(0, 0) : this.bytes.subarray(start, start + whole);
    if (whole === 0) return this.bytes.subarray(xattrEnd, xattrEnd + tail);
    const out = new Uint8Array(size);
    out.set(this.bytes.subarray(start, start + whole));
    out.set(this.bytes.subarray(xattrEnd, xattrEnd + tail), whole);
    return out;
  }

  #walk(): void {
    const root = this.#inodeAt(this.view.getUint16(SUPER.ROOT_NID, true), '' as ByteString, undefined);
    if (root === undefined) return;
    if ((root.mode & S_IFMT) !== S_IFDIR) {
      this.findings.add('erofs-root-invalid', root.offset, 'the root is not a directory', root);
      this.inodes.pop();
      this.complete = false;
    }
    for (let i = 0; i < this.inodes.length; i++) {
      const inode = this.inodes[i] as ErofsInode;
      if ((inode.mode & S_IFMT) === S_IFDIR) this.#readDirectory(inode);
    }
  }

  /** The inode of a number; it is new when `inodes` has grown. Undefined for one that cannot be used. */
  #inodeAt(nid: number, name: ByteString, parent: ErofsInode | undefined): ErofsInode | undefined {
    const { bytes, findings } = this;
    const offset = nid * SLOT_SIZE;
    if (offset < SUPER.END || offset + layout.INODE_COMPACT_SIZE > bytes.length) {
      const at = parent === undefined ? SUPER.ROOT_NID : parent.offset;
      const place: Place = { nid, name, parent };
      findings.add('erofs-nid-invalid', at, `the inode number ${nid} points outside of the image`, place);
      this.complete = false;
      return undefined;
    }
    const known = this.#known[nid] ?? 0;
    if (known !== 0) return known < 0 ? undefined : this.inodes[known - 1];
    const inode = parseInode(this, nid, name, parent, this.buildTime);
    this.#known[nid] = -1;
    if (inode === undefined || !this.#claimInode(inode)) return undefined;
    this.inodes.push(inode);
    this.#known[nid] = this.inodes.length;
    if (inode.xattrEnd > inode.xattrStart) locateXattrs(this, inode, this.#useShared);
    return inode;
  }

  #claimInode(inode: ErofsInode): boolean {
    const start = inode.union * BLOCK_SIZE;
    const hasBlocks = inode.blocks > 0 && inode.layout !== layout.LAYOUT_CHUNK_BASED;
    return (
      this.#claim(inode.offset, inode.xattrEnd + inode.tail, inode) &&
      (!hasBlocks || this.#claim(start, start + inode.blocks * BLOCK_SIZE, inode))
    );
  }

  /** Notes that these bytes are in use: nobody else's until now. That bounds all work by the size of the image. */
  #claim(start: number, end: number, place: Place): boolean {
    const used = this.#used;
    const last = Math.ceil(end / 4);
    let free = this.#claimed + end - start <= this.bytes.length;
    for (let word = start / 4; free && word < last; word++) free = used[word] === 0;
    if (!free) {
      this.findings.add('erofs-overlap', start, 'the data is in use for something else, too,', place);
      this.complete = false;
      return false;
    }
    this.#claimed += end - start;
    used.fill(1, start / 4, last);
    return true;
  }

  #readDirectory(dir: ErofsInode): void {
    if (dir.depth > MAX_DEPTH) {
      this.findings.add('erofs-too-deep', dir.offset, `more than ${MAX_DEPTH} levels of directories`, dir);
      this.complete = false;
      return;
    }
    const entries: ErofsEntry[] = [];
    let dots = 0;
    let subdirectories = 0;
    let left = 0;
    for (const dirent of readDirents(this, dir)) {
      const { name } = dirent;
      if (name === '.' || name === '..') {
        this.#requireDot(dir, dirent);
        dots++;
        continue;
      }
      const entry = this.#entry(dir, dirent);
      if (entry === undefined) {
        left++;
        continue;
      }
      if ((entry.inode.mode & S_IFMT) === S_IFDIR) subdirectories++;
      entries.push(entry);
    }
    dir.entries = entries;
    if (dots !== 2) this.findings.add('erofs-dot-missing', dir.offset, '"." or ".." is missing', dir);
    if (left === 0 && dir.nlink !== 2 + subdirectories) {
      const fact = `the link count is ${dir.nlink}, expected ${2 + subdirectories},`;
      this.findings.add('erofs-nlink-mismatch', dir.offset, fact, dir);
    }
  }

  #requireDot(dir: ErofsInode, { name, nid, fileType, at }: RawDirent): void {
    const expected = name === '.' ? dir : (dir.parent ?? dir);
    if (nid === expected.nid && fileType === layout.direntType(S_IFDIR)) return;
    this.findings.add('erofs-dot-invalid', at, `"${name}" is another directory`, dir);
  }

  #entry(dir: ErofsInode, { name, nid, fileType, at }: RawDirent): ErofsEntry | undefined {
    const before = this.inodes.length;
    const inode = this.#inodeAt(nid, name, dir);
    if (inode === undefined) return undefined;
    const type = layout.direntType(inode.mode);
    if (type !== fileType) {
      const fact = `"${name}" has type ${fileType} in the directory and mode 0o${inode.mode.toString(8)}`;
      this.findings.add('erofs-file-type-mismatch', at, fact, dir);
    }
    if (this.inodes.length === before) {
      if ((inode.mode & S_IFMT) === S_IFDIR) {
        this.findings.add('erofs-directory-repeated', at, 'a directory has a second name', {
          nid,
          name,
          parent: dir,
        });
        this.complete = false;
        return undefined;
      }
      inode.names++;
    }
    return { name, inode };
  }

  /** The shared xattr at an offset is checked and claimed once. */
  readonly #useShared = (offset: number, place: Place): boolean => {
    const known = this.shared.get(offset);
    if (known !== undefined) {
      known.references++;
      return known.usable;
    }
    const usable =
      checkSharedXattr(this, offset, place) &&
      this.#claim(offset, offset + entrySize(this.view, offset), place);
    this.shared.set(offset, { usable, references: 1 });
    return usable;
  };
}
