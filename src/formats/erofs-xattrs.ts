/**
 * The xattrs of an image being written: every distinct (name, value) pair is one entry, pairs used by more than one
 * inode go into the shared table, and each inode has an area of references and inline entries.
 */

import { equalBytes, roundUp } from './bytes.ts';
import { type ByteString, toByteString } from './encoding.ts';
import {
  MAX_SHARED_REFS,
  splitXattrName,
  XATTR_ENTRY_SIZE,
  XATTR_HEADER_SIZE,
  XATTR_REF_SIZE,
  xattrFilterBit,
} from './erofs-layout.ts';

export interface XattrEntry {
  readonly name: XattrNameInfo;
  /** Behind the lead of the name; of a digest its bytes. */
  readonly value: ByteString | Uint8Array;
  /** Bytes in the image, padding included. */
  size: number;
  uses: number;
  /** In the shared table; only when `uses` is above 1. */
  sharedOffset: number;
}

export interface XattrNameInfo {
  key: ByteString;
  index: number;
  suffix: ByteString;
  filterBit: number;
  /** What all values begin with, where that is known: so they need not be put together before they are written. */
  lead: ByteString;
  byValue: Map<ByteString, XattrEntry>;
  /** By the first bytes as a number: digests, of which text is made too slowly. */
  byDigest: Map<number, XattrEntry[]>;
}

const NO_LEAD = '' as ByteString;

/** All xattrs of one image. Entries are handed out first, then the shared table is laid out, then areas are sized. */
export class XattrPool {
  readonly #names = new Map<ByteString, XattrNameInfo[]>();
  #shared: XattrEntry[] = [];
  sharedSize = 0;

  /** What `use` and `useDigest` want to know of a name. Values with another lead are other values. */
  name(key: ByteString, lead = NO_LEAD): XattrNameInfo {
    let names = this.#names.get(key);
    if (names === undefined) {
      names = [];
      this.#names.set(key, names);
    }
    let name = names.find((one) => one.lead === lead);
    if (name === undefined) {
      const split = splitXattrName(key);
      const filterBit = xattrFilterBit(split);
      name = { key, ...split, filterBit, lead, byValue: new Map(), byDigest: new Map() };
      names.push(name);
    }
    return name;
  }

  /** The entry for this value, counting one more use. */
  use(name: XattrNameInfo, value: ByteString): XattrEntry {
    let entry = name.byValue.get(value);
    if (entry === undefined) {
      entry = newEntry(name, value);
      name.byValue.set(value, entry);
    }
    entry.uses++;
    return entry;
  }

  /** The same for a digest, which nobody may change afterwards. */
  useDigest(name: XattrNameInfo, digest: Uint8Array): XattrEntry {
    const key = firstBytes(digest);
    let entries = name.byDigest.get(key);
    if (entries === undefined) {
      entries = [];
      name.byDigest.set(key, entries);
    }
    let entry = entries.find(({ value }) => equalBytes(value as Uint8Array, digest));
    if (entry === undefined) {
      entry = newEntry(name, digest);
      entries.push(entry);
    }
    entry.uses++;
    return entry;
  }

  has(key: string): boolean {
    return this.#names.has(key as ByteString);
  }

  /** To be called once, when no further use comes. */
  layoutShared(): void {
    const shareIfUsed = (entry: XattrEntry) => {
      if (entry.uses > 1) this.#shared.push(entry);
    };
    for (const name of [...this.#names.values()].flat()) {
      for (const entry of name.byValue.values()) shareIfUsed(entry);
      for (const entries of name.byDigest.values()) for (const entry of entries) shareIfUsed(entry);
    }
    this.#shared.sort(compareShared);
    let offset = 0;
    for (const entry of this.#shared) {
      entry.sharedOffset = offset;
      offset += entry.size;
    }
    this.sharedSize = offset;
  }

  writeShared(out: Uint8Array, at: number): void {
    for (const entry of this.#shared) writeEntry(out, at + entry.sharedOffset, entry);
  }
}

function newEntry(name: XattrNameInfo, value: ByteString | Uint8Array): XattrEntry {
  const size = roundUp(XATTR_ENTRY_SIZE + name.suffix.length + name.lead.length + value.length, 4);
  return { name, value, size, uses: 0, sharedOffset: 0 };
}

/** Four of them, as good as random. */
function firstBytes(digest: Uint8Array): number {
  return (
    (digest[0] ?? 0) | ((digest[1] ?? 0) << 8) | ((digest[2] ?? 0) << 16) | (((digest[3] ?? 0) & 0x3f) << 24)
  );
}

/** Bytes of the value, its lead included. */
export function valueSize({ name, value }: XattrEntry): number {
  return name.lead.length + value.length;
}

function wholeValue({ name, value }: XattrEntry): ByteString {
  return (name.lead + (typeof value === 'string' ? value : toByteString(value))) as ByteString;
}

/** libcomposefs fills the table backwards: name, value length, value, each descending. */
function compareShared(a: XattrEntry, b: XattrEntry): number {
  if (a.name.key !== b.name.key) return a.name.key < b.name.key ? 1 : -1;
  const [mine, other] = [wholeValue(a), wholeValue(b)];
  if (mine.length !== other.length) return other.length - mine.length;
  return mine < other ? 1 : -1;
}

/** Bytes between an inode and its tail; `entries` in name order. */
export function xattrAreaSize(entries: readonly XattrEntry[]): number {
  if (entries.length === 0) return 0;
  let refs = 0;
  let inline = 0;
  for (const entry of entries) {
    if (entry.uses > 1 && refs < MAX_SHARED_REFS) refs++;
    else inline += entry.size;
  }
  return XATTR_HEADER_SIZE + refs * XATTR_REF_SIZE + inline;
}

/** i_xattr_icount of an area of that size. */
export function xattrCount(areaSize: number): number {
  return areaSize === 0 ? 0 : (areaSize - XATTR_HEADER_SIZE) / 4 + 1;
}

/** `sharedBase`: where the shared table starts, counted from the block that the superblock names. */
export function writeXattrArea(
  out: Uint8Array,
  view: DataView,
  start: number,
  entries: readonly XattrEntry[],
  sharedBase: number,
): void {
  if (entries.length === 0) return;
  let filter = 0;
  let refs = 0;
  for (const entry of entries) {
    filter |= entry.name.filterBit;
    if (entry.uses > 1 && refs < MAX_SHARED_REFS) {
      view.setUint32(
        start + XATTR_HEADER_SIZE + refs * XATTR_REF_SIZE,
        (sharedBase + entry.sharedOffset) / 4,
        true,
      );
      refs++;
    }
  }
  view.setUint32(start, ~filter >>> 0, true);
  out[start + 4] = refs;
  let at = start + XATTR_HEADER_SIZE + refs * XATTR_REF_SIZE;
  let referenced = 0;
  for (const entry of entries) {
    if (entry.uses > 1 && referenced < MAX_SHARED_REFS) {
      referenced++;
      continue;
    }
    writeEntry(out, at, entry);
    at += entry.size;
  }
}

function writeEntry(out: Uint8Array, at: number, entry: XattrEntry): void {
  const { value } = entry;
  const { suffix, index, lead } = entry.name;
  const length = valueSize(entry);
  out[at] = suffix.length;
  out[at + 1] = index;
  out[at + 2] = length & 0xff;
  out[at + 3] = length >> 8;
  let end = at + XATTR_ENTRY_SIZE;
  putBytes(out, end, suffix);
  end += suffix.length;
  putBytes(out, end, lead);
  end += lead.length;
  if (typeof value === 'string') putBytes(out, end, value);
  else for (let i = 0; i < value.length; i++) out[end + i] = value[i] as number;
}

export function putBytes(out: Uint8Array, at: number, text: ByteString): void {
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
}
