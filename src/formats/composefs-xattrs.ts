/**
 * Which xattrs libcomposefs shares and in which order it writes them: a pair of name and value that several inodes
 * have stands once, in a table behind the inodes, and each of them refers to it; every other one stands in its inode.
 */

import type { ByteString } from './encoding.ts';
import type { ErofsImage } from './erofs-image.ts';
import type { ErofsInode } from './erofs-inode.ts';
import * as layout from './erofs-layout.ts';
import { beginsXattr, entrySize, isXattr, xattrAt, xattrPattern } from './erofs-xattr-read.ts';
import { requireZeros } from './erofs-zeros.ts';
import { METACOPY, OVERLAY_PREFIX, REDIRECT } from './overlay.ts';
import { MAX_XATTR_SPACE } from './tree.ts';

const { BLOCK_SIZE, HEADER, MAX_SHARED_REFS, XATTR_ENTRY_SIZE, XATTR_HEADER_SIZE } = layout;

export interface SharedTable {
  /** Offsets, in the order of the table. */
  readonly entries: readonly number[];
  readonly end: number;
}

/** Everything from the last inode up to the first block of data, or to the first four zeros: no entry begins so. */
export function readSharedTable(image: ErofsImage, start: number): SharedTable {
  let limit = image.bytes.length;
  for (const { blocks, union, layout: form } of image.inodes) {
    if (blocks > 0 && form !== layout.LAYOUT_CHUNK_BASED) limit = Math.min(limit, union * BLOCK_SIZE);
  }
  const entries: number[] = [];
  let at = start;
  while (at + XATTR_ENTRY_SIZE <= limit && image.view.getUint32(at, true) !== 0) {
    const end = at + entrySize(image.view, at);
    if (end > limit) break;
    entries.push(at);
    at = end;
  }
  return { entries, end: at };
}

export function checkXattrs(image: ErofsImage, order: readonly ErofsInode[], table: SharedTable): void {
  const check = new XattrCheck(image, table);
  for (const inode of order) if (inode.xattrEnd > inode.xattrStart) check.inode(inode);
  check.finish();
}

/** Of those 2^28 values two entries have the same one seldom, and 2^25 entries can be told apart beside it. */
const HASH_BITS = 28;
const INDEX_FACTOR = 2 ** (53 - HASH_BITS);

class XattrCheck {
  readonly #image: ErofsImage;
  readonly #table: SharedTable;
  /** Of each shared entry, how many inodes have it. */
  readonly #uses = new Map<number, number>();
  /** The inline entries, those of the table, and of the former those that may stand in the table, too. */
  readonly #entries: number[] = [];
  readonly #beyondRefs = new Set<number>();
  readonly #filterBits = new Map<ByteString, number>();
  readonly #sharedBits = new Map<number, number>();
  readonly #metacopyBit = layout.xattrFilterBit(layout.splitXattrName(METACOPY));
  readonly #redirectBit = layout.xattrFilterBit(layout.splitXattrName(REDIRECT));
  #hasAcl = false;

  constructor(image: ErofsImage, table: SharedTable) {
    this.#image = image;
    this.#table = table;
    for (const at of table.entries) this.#uses.set(at, 0);
  }

  inode(inode: ErofsInode): void {
    const { findings, xattrs, view } = this.#image;
    const { xattrStart, xattrsFrom, sharedFrom, xattrsTo } = inode;
    if (xattrsFrom === xattrsTo) {
      findings.add('composefs-xattr-area-empty', xattrStart, 'an inode has room for xattrs and none', inode);
    }
    let filter = 0;
    let space = 12;
    for (let i = xattrsFrom; i < xattrsTo; i++) {
      const at = xattrs[i] ?? 0;
      filter |= i < sharedFrom ? this.#bitOf(at) : this.#sharedBit(at, inode);
      space += this.#spaceOf(at);
      if (i < sharedFrom) {
        this.#entries.push(at);
        requireZeros(
          this.#image,
          paddingOf(this.#image, at),
          at + entrySize(view, at),
          'behind an xattr',
          inode,
        );
      }
      const ordered =
        i === xattrsFrom || i === sharedFrom || compareKeys(this.#image, xattrs[i - 1] ?? 0, at) < 0;
      if (!ordered) findings.add('composefs-xattr-order', at, 'an xattr does not stand in name order', inode);
    }
    this.#noteBeyondRefs(inode);
    const stored = view.getUint32(xattrStart, true);
    if (stored !== ~filter >>> 0) {
      const fact = `the xattr filter is 0x${stored.toString(16)}, expected 0x${(~filter >>> 0).toString(16)},`;
      findings.add('composefs-xattr-filter-mismatch', xattrStart, fact, inode);
    }
    requireZeros(this.#image, xattrStart + 5, xattrStart + XATTR_HEADER_SIZE, 'before xattrs', inode);
    if (space > MAX_XATTR_SPACE) {
      const fact = `${space} bytes of xattrs are more than ${MAX_XATTR_SPACE}`;
      findings.add('composefs-xattrs-too-large', xattrStart, fact, inode);
    }
  }

  /** An inode refers to 128 shared entries; it has the later ones, by name, itself. */
  #noteBeyondRefs({ xattrsFrom, sharedFrom, xattrsTo }: ErofsInode): void {
    const { xattrs } = this.#image;
    if (xattrsTo - sharedFrom !== MAX_SHARED_REFS) return;
    const last = xattrs[xattrsTo - 1] ?? 0;
    for (let i = xattrsFrom; i < sharedFrom; i++) {
      const at = xattrs[i] ?? 0;
      if (compareKeys(this.#image, at, last) > 0) this.#beyondRefs.add(at);
    }
  }

  #sharedBit(at: number, inode: ErofsInode): number {
    const uses = this.#uses.get(at);
    if (uses === undefined) {
      const fact = 'a shared xattr stands outside of their table';
      this.#image.findings.add('composefs-xattr-sharing', at, fact, inode);
    } else {
      this.#uses.set(at, uses + 1);
    }
    let bit = this.#sharedBits.get(at);
    if (bit === undefined) {
      bit = this.#bitOf(at);
      this.#sharedBits.set(at, bit);
    }
    return bit;
  }

  /** The bit of the name in the filter; on the way, whether the name has the prefix that it must have. */
  #bitOf(at: number): number {
    const { bytes, findings } = this.#image;
    if (isXattr(bytes, at, METACOPY_NAME)) return this.#metacopyBit;
    if (isXattr(bytes, at, REDIRECT_NAME)) return this.#redirectBit;
    const { key } = xattrAt(this.#image, at);
    const name = layout.splitXattrName(key);
    if (name.index !== bytes[at + 1]) {
      findings.add(
        'composefs-xattr-prefix',
        at,
        `an xattr has prefix ${bytes[at + 1]}, expected ${name.index},`,
      );
    }
    if (ACL_INDEXES.has(name.index) && name.suffix === '') this.#hasAcl = true;
    let bit = this.#filterBits.get(key);
    if (bit === undefined) {
      bit = layout.xattrFilterBit(name);
      this.#filterBits.set(key, bit);
    }
    return bit;
  }

  /** What libcomposefs counts for it; nothing for those of overlayfs, which it may have added itself. */
  #spaceOf(at: number): number {
    const { view, bytes } = this.#image;
    if (OVERLAY_NAMES.some((name) => beginsXattr(bytes, at, name))) return 0;
    const prefix = layout.joinXattrName(bytes[at + 1] ?? 0, '' as ByteString)?.length ?? 0;
    return 7 + prefix + (bytes[at] ?? 0) + view.getUint16(at + 2, true);
  }

  finish(): void {
    const { findings, view } = this.#image;
    this.#checkTable();
    this.#checkUnique();
    for (const [at, uses] of this.#uses) {
      if (uses > 1) continue;
      findings.add('composefs-xattr-sharing', at, `a shared xattr has ${uses} users`);
    }
    const flags = view.getUint32(HEADER.FLAGS, true);
    const due = this.#hasAcl ? layout.COMPOSEFS_FLAG_HAS_ACL : 0;
    if (flags !== due) {
      findings.add(
        'composefs-flags-mismatch',
        HEADER.FLAGS,
        `the flags are ${flags}, composefs would write ${due},`,
      );
    }
  }

  #checkTable(): void {
    const { entries } = this.#table;
    for (const [i, at] of entries.entries()) {
      requireZeros(
        this.#image,
        paddingOf(this.#image, at),
        at + entrySize(this.#image.view, at),
        'behind an xattr',
      );
      if (i === 0 || compareShared(this.#image, entries[i - 1] ?? 0, at) > 0) continue;
      this.#image.findings.add(
        'composefs-xattr-order',
        at,
        'a shared xattr does not stand in the order of the table',
      );
    }
  }

  /** Sorted by a hash, so that equal entries are neighbours; those with the same hash are then compared in full. */
  #checkUnique(): void {
    const entries = [...this.#entries, ...this.#table.entries];
    const keys = new Float64Array(entries.length);
    for (let i = 0; i < keys.length; i++) keys[i] = this.#hash(entries[i] ?? 0) * INDEX_FACTOR + i;
    keys.sort();
    let group: number[] = [];
    let hash = -1;
    for (const key of keys) {
      const next = Math.floor(key / INDEX_FACTOR);
      if (next !== hash) {
        if (group.length > 1) this.#checkGroup(group);
        group = [];
        hash = next;
      }
      group.push(entries[key - next * INDEX_FACTOR] ?? 0);
    }
    if (group.length > 1) this.#checkGroup(group);
  }

  #hash(at: number): number {
    const { view } = this.#image;
    const end = at + entrySize(view, at);
    let hash = 0;
    for (let word = at; word < end; word += 4) {
      hash = Math.imul(hash ^ view.getUint32(word, true), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash >>> (32 - HASH_BITS);
  }

  #checkGroup(group: number[]): void {
    group.sort((a, b) => this.#compareBytes(a, b) || a - b);
    for (let from = 0; from < group.length; ) {
      let to = from + 1;
      while (to < group.length && this.#compareBytes(group[from] ?? 0, group[to] ?? 0) === 0) to++;
      if (to - from > 1) this.#checkEqual(group.slice(from, to));
      from = to;
    }
  }

  /** The same pair of name and value several times: right only in the table, and in inodes that refer to 128 others. */
  #checkEqual(equal: readonly number[]): void {
    const shared = equal.find((at) => this.#uses.has(at));
    for (const at of equal) {
      if (at === shared) continue;
      if (shared !== undefined && this.#beyondRefs.has(at))
        this.#uses.set(shared, (this.#uses.get(shared) ?? 0) + 1);
      else
        this.#image.findings.add(
          'composefs-xattr-sharing',
          at,
          'an xattr is not shared that several inodes have',
        );
    }
  }

  #compareBytes(a: number, b: number): number {
    const { bytes, view } = this.#image;
    const size = entrySize(view, a);
    const otherSize = entrySize(view, b);
    return size === otherSize ? compareRange(bytes, a, size, b, size) : size - otherSize;
  }
}

const ACL_INDEXES: ReadonlySet<number> = new Set([2, 3]);
const METACOPY_NAME = xattrPattern(METACOPY);
const REDIRECT_NAME = xattrPattern(REDIRECT);
/** Of files in the tree `trusted.overlay.` is stored with a second `overlay.`; `user.overlay.` marks whiteouts, too. */
const OVERLAY_NAMES = [xattrPattern(OVERLAY_PREFIX), xattrPattern('user.overlay.' as ByteString)] as const;

function paddingOf({ view }: ErofsImage, at: number): number {
  return at + XATTR_ENTRY_SIZE + view.getUint8(at) + view.getUint16(at + 2, true);
}

/** Of the whole names, in byte order. */
function compareKeys(image: ErofsImage, a: number, b: number): number {
  const { bytes } = image;
  if (bytes[a + 1] !== bytes[b + 1]) {
    const [first, second] = [xattrAt(image, a).key, xattrAt(image, b).key];
    return first < second ? -1 : first > second ? 1 : 0;
  }
  return compareRange(bytes, a + XATTR_ENTRY_SIZE, bytes[a] ?? 0, b + XATTR_ENTRY_SIZE, bytes[b] ?? 0);
}

function compareRange(bytes: Uint8Array, a: number, aLength: number, b: number, bLength: number): number {
  const common = Math.min(aLength, bLength);
  for (let i = 0; i < common; i++) {
    const difference = (bytes[a + i] ?? 0) - (bytes[b + i] ?? 0);
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}

/** By name, then by the length of the value, then by the value. */
function compareShared(image: ErofsImage, a: number, b: number): number {
  const byName = compareKeys(image, a, b);
  if (byName !== 0) return byName;
  const { bytes, view } = image;
  const [aLength, bLength] = [view.getUint16(a + 2, true), view.getUint16(b + 2, true)];
  if (aLength !== bLength) return aLength - bLength;
  return compareRange(bytes, paddingOf(image, a) - aLength, aLength, paddingOf(image, b) - bLength, bLength);
}
