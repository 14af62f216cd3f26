/**
 * Which xattrs libcomposefs shares and in which order it writes them: a pair of name and value that several inodes
 * have stands once, in a table behind the inodes, and each of them refers to it; every other one stands in its inode.
 */

import { compareRanges } from './bytes.ts';
import type { ByteString } from './encoding.ts';
import type { ErofsImage } from './erofs-image.ts';
import { ErofsInode } from './erofs-inode.ts';
import * as layout from './erofs-layout.ts';
import { inPieces } from './erofs-tables.ts';
import {
  entryEnd,
  isUserOverlay,
  KIND_METACOPY,
  KIND_OVERLAY,
  KIND_REDIRECT,
  KIND_VISIBLE,
  nameLength,
  valueEnd,
  valueLength,
  valueStart,
  xattrAt,
} from './erofs-xattr-read.ts';
import { requireZeros } from './erofs-zeros.ts';
import { METACOPY, REDIRECT } from './overlay.ts';
import { MAX_XATTR_SPACE } from './tree.ts';

const { FORMAT_EXTENDED, HEADER, INODE_COMPACT_SIZE, INODE_EXTENDED_SIZE } = layout;
const { MAX_SHARED_REFS, XATTR_ENTRY_SIZE, XATTR_HEADER_SIZE } = layout;

export interface SharedTable {
  /** Offsets, in the order of the table. */
  readonly entries: readonly number[];
  readonly end: number;
}

/** Everything from the last inode up to the first block of data, or to the first four zeros: no entry begins so. */
export function readSharedTable(image: ErofsImage, start: number): SharedTable {
  const limit = image.firstData;
  const entries: number[] = [];
  let at = start;
  while (at + XATTR_ENTRY_SIZE <= limit && image.words[at >> 2] !== 0) {
    const end = entryEnd(image, at);
    if (end > limit) break;
    entries.push(at);
    at = end;
  }
  return { entries, end: at };
}

export function checkXattrs(image: ErofsImage, order: Int32Array, table: SharedTable): void {
  const check = new XattrCheck(image, table);
  inPieces(order.length, (from, to) => check.inodes(order, from, to));
  check.finish();
}

const HASHED_WORDS = 6;

/** By the kind of a name, where that is enough to know it. */
const FILTER_BITS = new Int32Array(KIND_REDIRECT + 1);
FILTER_BITS[KIND_METACOPY] = layout.xattrFilterBit(layout.splitXattrName(METACOPY));
FILTER_BITS[KIND_REDIRECT] = layout.xattrFilterBit(layout.splitXattrName(REDIRECT));

class XattrCheck {
  readonly #image: ErofsImage;
  readonly #table: SharedTable;
  /** Of each shared entry, how many inodes have it. */
  readonly #uses = new Map<number, number>();
  /** The inline entries, those of the table, and of the former those that may stand in the table, too. */
  readonly #entries: Int32Array;
  #inline = 0;
  readonly #beyondRefs = new Set<number>();
  readonly #filterBits = new Map<ByteString, number>();
  readonly #sharedBits = new Map<number, number>();
  #hasAcl = false;

  constructor(image: ErofsImage, table: SharedTable) {
    this.#image = image;
    this.#table = table;
    this.#entries = new Int32Array(image.xattrs.count + table.entries.length);
    for (const at of table.entries) this.#uses.set(at, 0);
  }

  /** The inodes in `order` from place `from` up to `to`. */
  inodes(order: Int32Array, from: number, to: number): void {
    const image = this.#image;
    const { words } = image;
    const { at, kind } = image.xattrs;
    const { format, offset, sharedFrom, xattrEnd, xattrsFrom, xattrsTo } = image.inodes;
    const entries = this.#entries;
    let inline = this.#inline;
    for (let place = from; place < to; place++) {
      const row = order[place] as number;
      const extended = ((format[row] as number) & FORMAT_EXTENDED) !== 0;
      const start = (offset[row] as number) + (extended ? INODE_EXTENDED_SIZE : INODE_COMPACT_SIZE);
      if (xattrEnd[row] === start) continue;
      const first = xattrsFrom[row] as number;
      const shared = sharedFrom[row] as number;
      const end = xattrsTo[row] as number;
      if (first === end) {
        this.#report(row, start, 'composefs-xattr-area-empty', 'an inode has room for xattrs and none');
      }
      let filter = 0;
      let space = 12;
      for (let i = first; i < end; i++) {
        const entry = at[i] as number;
        const what = kind[i] as number;
        if (i < shared) {
          filter |= what > KIND_OVERLAY ? (FILTER_BITS[what] as number) : this.#bitOf(entry);
          entries[inline++] = entry;
          const padding = valueEnd(image, entry);
          if ((padding & 3) !== 0) requireZeros(image, padding, (padding + 3) & ~3, 'behind an xattr', row);
        } else {
          filter |= this.#sharedBit(entry, row);
        }
        if (what === KIND_VISIBLE) space += this.#spaceOf(entry);
        // Metacopy and redirect, which most have, stand in the order of their numbers.
        const known = i > first && kind[i - 1] === KIND_METACOPY && what === KIND_REDIRECT;
        if (i > first && i !== shared && !known && compareKeys(image, at[i - 1] as number, entry) >= 0) {
          this.#report(row, entry, 'composefs-xattr-order', 'an xattr does not stand in name order');
        }
      }
      if (end - shared === MAX_SHARED_REFS) this.#noteBeyondRefs(first, shared, end);
      if (words[start >> 2] !== ~filter) this.#refuseFilter(row, start, filter);
      if (((words[(start + 4) >> 2] as number) & ~0xff) !== 0 || words[(start + 8) >> 2] !== 0) {
        requireZeros(image, start + 5, start + XATTR_HEADER_SIZE, 'before xattrs', row);
      }
      if (space > MAX_XATTR_SPACE) {
        const fact = `${space} bytes of xattrs are more than ${MAX_XATTR_SPACE}`;
        this.#report(row, start, 'composefs-xattrs-too-large', fact);
      }
    }
    this.#inline = inline;
  }

  #report(row: number, at: number, code: string, fact: string): void {
    this.#image.findings.add(code, at, fact, new ErofsInode(this.#image, row));
  }

  #refuseFilter(row: number, at: number, filter: number): void {
    const stored = (this.#image.words[at >> 2] as number) >>> 0;
    const fact = `the xattr filter is 0x${stored.toString(16)}, expected 0x${(~filter >>> 0).toString(16)},`;
    this.#report(row, at, 'composefs-xattr-filter-mismatch', fact);
  }

  /** An inode refers to 128 shared entries; it has the later ones, by name, itself. */
  #noteBeyondRefs(from: number, shared: number, to: number): void {
    const { at } = this.#image.xattrs;
    const last = at[to - 1] as number;
    for (let i = from; i < shared; i++) {
      const inline = at[i] as number;
      if (compareKeys(this.#image, inline, last) > 0) this.#beyondRefs.add(inline);
    }
  }

  #sharedBit(at: number, row: number): number {
    const uses = this.#uses.get(at);
    if (uses === undefined) {
      this.#report(row, at, 'composefs-xattr-sharing', 'a shared xattr stands outside of their table');
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
    const { key } = xattrAt(this.#image, at);
    const name = layout.splitXattrName(key);
    if (name.index !== bytes[at + 1]) {
      const fact = `an xattr has prefix ${bytes[at + 1]}, expected ${name.index},`;
      findings.add('composefs-xattr-prefix', at, fact);
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
    const image = this.#image;
    if (isUserOverlay(image, at)) return 0;
    const prefix = layout.joinXattrName(image.bytes[at + 1] as number, '' as ByteString)?.length ?? 0;
    return 7 + prefix + nameLength(image, at) + valueLength(image, at);
  }

  finish(): void {
    const image = this.#image;
    this.#checkTable();
    this.#checkUnique();
    for (const [at, uses] of this.#uses) {
      if (uses > 1) continue;
      image.findings.add('composefs-xattr-sharing', at, `a shared xattr has ${uses} users`);
    }
    const flags = (image.words[HEADER.FLAGS >> 2] as number) >>> 0;
    const due = this.#hasAcl ? layout.COMPOSEFS_FLAG_HAS_ACL : 0;
    if (flags !== due) {
      const fact = `the flags are ${flags}, composefs would write ${due},`;
      image.findings.add('composefs-flags-mismatch', HEADER.FLAGS, fact);
    }
  }

  #checkTable(): void {
    const image = this.#image;
    const { entries } = this.#table;
    for (const [i, at] of entries.entries()) {
      requireZeros(image, valueEnd(image, at), entryEnd(image, at), 'behind an xattr');
      if (i === 0 || compareShared(image, entries[i - 1] as number, at) > 0) continue;
      const fact = 'a shared xattr does not stand in the order of the table';
      image.findings.add('composefs-xattr-order', at, fact);
    }
  }

  /** Equal entries have equal hashes: few entries are left to be compared in full. */
  #checkUnique(): void {
    const entries = this.#entries.subarray(0, this.#inline + this.#table.entries.length);
    entries.set(this.#table.entries, this.#inline);
    const repeated = repeatedHashes(this.#image, entries);
    if (repeated.size === 0) return;
    const groups = new Map<number, number[]>();
    for (const at of entries) {
      const hash = hashOf(this.#image, at);
      const group = groups.get(hash);
      if (group !== undefined) group.push(at);
      else if (repeated.has(hash)) groups.set(hash, [at]);
    }
    for (const group of groups.values()) this.#checkGroup(group);
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
    const size = entryEnd(this.#image, a) - a;
    const otherSize = entryEnd(this.#image, b) - b;
    return size === otherSize ? compareRanges(this.#image.bytes, a, size, b, size) : size - otherSize;
  }
}

const ACL_INDEXES: ReadonlySet<number> = new Set([2, 3]);

/** The hashes that several entries have. */
function repeatedHashes(image: ErofsImage, entries: Int32Array): Set<number> {
  const count = entries.length;
  const hashes = new Int32Array(count);
  inPieces(count, (from, to) => {
    for (let i = from; i < to; i++) hashes[i] = hashOf(image, entries[i] as number);
  });
  hashes.sort();
  const repeated = new Set<number>();
  inPieces(count - 1, (from, to) => {
    for (let i = from; i < to; i++) if (hashes[i] === hashes[i + 1]) repeated.add(hashes[i] as number);
  });
  return repeated;
}

/** Of the last words of an entry, in which digests, paths and values differ most. */
function hashOf(image: ErofsImage, at: number): number {
  const { words } = image;
  const end = entryEnd(image, at) >> 2;
  let hash = end - (at >> 2);
  for (let word = Math.max(at >> 2, end - HASHED_WORDS); word < end; word++) {
    hash = Math.imul(hash ^ (words[word] as number), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** Of the whole names, in byte order. */
function compareKeys(image: ErofsImage, a: number, b: number): number {
  const { bytes } = image;
  if (bytes[a + 1] !== bytes[b + 1]) {
    const [first, second] = [xattrAt(image, a).key, xattrAt(image, b).key];
    return first < second ? -1 : first > second ? 1 : 0;
  }
  return compareRanges(
    bytes,
    a + XATTR_ENTRY_SIZE,
    nameLength(image, a),
    b + XATTR_ENTRY_SIZE,
    nameLength(image, b),
  );
}

/** By name, then by the length of the value, then by the value. */
function compareShared(image: ErofsImage, a: number, b: number): number {
  const byName = compareKeys(image, a, b);
  if (byName !== 0) return byName;
  const [aLength, bLength] = [valueLength(image, a), valueLength(image, b)];
  if (aLength !== bLength) return aLength - bLength;
  return compareRanges(image.bytes, valueStart(image, a), aLength, valueStart(image, b), bLength);
}
