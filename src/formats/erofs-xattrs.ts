/**
 * The xattrs of an image being written: every distinct (name, value) pair is one entry, pairs used by more than one
 * inode go into the shared table, and each inode has an area of references and inline entries. Pairs that cannot stand
 * twice need not be in the pool.
 */

import { type ByteString, fromByteString, putBytes } from './byte-strings.ts';
import {
  MAX_SHARED_REFS,
  splitXattrName,
  XATTR_HEADER_SIZE,
  XATTR_REF_SIZE,
  xattrFilterBit,
} from './erofs-layout.ts';

export interface XattrEntry {
  readonly name: XattrNameInfo;
  /** Behind the lead of the name. */
  readonly value: ByteString;
  uses: number;
  /** In the shared table; only when `uses` is above 1. */
  sharedOffset: number;
}

export interface XattrNameInfo {
  readonly key: ByteString;
  readonly filterBit: number;
  /** What all values begin with, where that is known: so they need not be put together before they are written. */
  readonly lead: ByteString;
  /** What an entry begins with: the lengths of suffix and value, the latter of it 0, the index, suffix and lead. */
  readonly head: Uint8Array;
  /** Asking an array costs more than all else of an entry under QuickJS. */
  readonly headBytes: number;
  readonly byValue: Map<ByteString, XattrEntry>;
}

const NO_LEAD = '' as ByteString;

/** All xattrs of one image. Entries are handed out first, then the shared table is laid out, then areas are sized. */
export class XattrPool {
  readonly #names = new Map<ByteString, XattrNameInfo[]>();
  #shared: XattrEntry[] = [];
  sharedSize = 0;

  /** What `use` wants to know of a name. Values with another lead are other values. */
  name(key: ByteString, lead = NO_LEAD): XattrNameInfo {
    let names = this.#names.get(key);
    if (names === undefined) {
      names = [];
      this.#names.set(key, names);
    }
    let name = names.find((one) => one.lead === lead);
    if (name === undefined) {
      const split = splitXattrName(key);
      const head = fromByteString(`\0\0\0\0${split.suffix}${lead}` as ByteString);
      head[0] = split.suffix.length;
      head[1] = split.index;
      const filterBit = xattrFilterBit(split);
      name = { key, filterBit, lead, head, headBytes: head.length, byValue: new Map() };
      names.push(name);
    }
    return name;
  }

  /** The entry for this value, counting one more use. */
  use(name: XattrNameInfo, value: ByteString): XattrEntry {
    let entry = name.byValue.get(value);
    if (entry === undefined) {
      entry = { name, value, uses: 1, sharedOffset: 0 };
      name.byValue.set(value, entry);
    } else {
      this.useAgain(entry);
    }
    return entry;
  }

  /** Counts one more use of an entry. */
  useAgain(entry: XattrEntry): void {
    entry.uses++;
    if (entry.uses === 2) this.#shared.push(entry);
  }

  has(key: string): boolean {
    return this.#names.has(key as ByteString);
  }

  /** To be called once, when no further use comes. */
  layoutShared(): void {
    const values = this.#shared.map((entry) => ({
      entry,
      value: (entry.name.lead + entry.value) as ByteString,
    }));
    this.#shared = values.sort(compareShared).map(({ entry }) => entry);
    let offset = 0;
    for (const entry of this.#shared) {
      entry.sharedOffset = offset;
      offset += entrySize(entry.name, entry.value);
    }
    this.sharedSize = offset;
  }

  writeShared(out: Uint8Array, at: number): void {
    for (const entry of this.#shared) writeEntry(out, at + entry.sharedOffset, entry.name, entry.value);
  }
}

/** The order in which an inode has them. */
export function byName(a: XattrEntry, b: XattrEntry): number {
  return a.name.key < b.name.key ? -1 : 1;
}

/** Bytes in the image, padding included; `value` is without the lead of the name. */
export function entrySize({ headBytes }: XattrNameInfo, value: ByteString): number {
  return (headBytes + value.length + 3) & ~3;
}

interface SharedValue {
  readonly entry: XattrEntry;
  /** Its lead included. */
  readonly value: ByteString;
}

/** libcomposefs fills the table backwards: name, value length, value, each descending. */
function compareShared(a: SharedValue, b: SharedValue): number {
  const [mine, other] = [a.entry.name.key, b.entry.name.key];
  if (mine !== other) return mine < other ? 1 : -1;
  if (a.value.length !== b.value.length) return b.value.length - a.value.length;
  return a.value < b.value ? 1 : -1;
}

/** Bytes between an inode and its tail; `entries` in name order. */
export function xattrAreaSize(entries: readonly XattrEntry[]): number {
  if (entries.length === 0) return 0;
  let refs = 0;
  let inline = 0;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as XattrEntry;
    if (entry.uses > 1 && refs < MAX_SHARED_REFS) refs++;
    else inline += entrySize(entry.name, entry.value);
  }
  return XATTR_HEADER_SIZE + refs * XATTR_REF_SIZE + inline;
}

/** `sharedBase`: where the shared table starts, counted from the block that the superblock names. */
export function writeXattrArea(
  out: Uint8Array,
  words: Int32Array,
  start: number,
  entries: readonly XattrEntry[],
  sharedBase: number,
): void {
  let filter = 0;
  let at = start + XATTR_HEADER_SIZE;
  let refs = 0;
  for (const entry of entries) {
    filter |= entry.name.filterBit;
    if (entry.uses === 1 || refs === MAX_SHARED_REFS) continue;
    at = writeReference(words, at, entry, sharedBase);
    refs++;
  }
  words[start / 4] = ~filter;
  out[start + 4] = refs;
  // Those that are referred to come first among the shared ones.
  for (const entry of entries) {
    if (entry.uses > 1 && refs > 0) {
      refs--;
      continue;
    }
    at = writeEntry(out, at, entry.name, entry.value);
  }
}

/** Returns where it ends. */
export function writeReference(words: Int32Array, at: number, entry: XattrEntry, sharedBase: number): number {
  words[at / 4] = (sharedBase + entry.sharedOffset) / 4;
  return at + XATTR_REF_SIZE;
}

/** Returns where it ends, padding included. */
export function writeEntry(out: Uint8Array, at: number, name: XattrNameInfo, value: ByteString): number {
  const { head, headBytes, lead } = name;
  const length = lead.length + value.length;
  const start = at + headBytes;
  out.set(head, at);
  out[at + 2] = length;
  out[at + 3] = length >> 8;
  putBytes(out, start, value);
  // An entry begins at a multiple of four; roundUp() would be two more calls for each file.
  const end = start + value.length;
  return end + (-end & 3);
}
