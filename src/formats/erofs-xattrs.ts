/**
 * The xattrs of an image being written: every distinct (name, value) pair is one entry, pairs used by more than one
 * inode go into the shared table, and each inode has an area of references and inline entries.
 */

import { roundUp } from './bytes.ts';
import type { ByteString } from './encoding.ts';
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
  readonly value: ByteString;
  /** Bytes in the image, padding included. */
  size: number;
  uses: number;
  /** In the shared table; only when `uses` is above 1. */
  sharedOffset: number;
}

interface XattrNameInfo {
  key: ByteString;
  index: number;
  suffix: ByteString;
  filterBit: number;
  byValue: Map<ByteString, XattrEntry>;
}

/** All xattrs of one image. Entries are handed out first, then the shared table is laid out, then areas are sized. */
export class XattrPool {
  readonly #names = new Map<ByteString, XattrNameInfo>();
  #shared: XattrEntry[] = [];
  sharedSize = 0;

  /** The entry for this pair, counting one more use. */
  use(key: ByteString, value: ByteString): XattrEntry {
    let name = this.#names.get(key);
    if (name === undefined) {
      const split = splitXattrName(key);
      name = { key, ...split, filterBit: xattrFilterBit(split), byValue: new Map() };
      this.#names.set(key, name);
    }
    let entry = name.byValue.get(value);
    if (entry === undefined) {
      const size = roundUp(XATTR_ENTRY_SIZE + name.suffix.length + value.length, 4);
      entry = { name, value, size, uses: 0, sharedOffset: 0 };
      name.byValue.set(value, entry);
    }
    entry.uses++;
    return entry;
  }

  has(key: string): boolean {
    return this.#names.has(key as ByteString);
  }

  /** To be called once, when no further use comes. */
  layoutShared(): void {
    for (const name of this.#names.values()) {
      for (const entry of name.byValue.values()) if (entry.uses > 1) this.#shared.push(entry);
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

/** libcomposefs fills the table backwards: name, value length, value, each descending. */
function compareShared(a: XattrEntry, b: XattrEntry): number {
  if (a.name !== b.name) return a.name.key < b.name.key ? 1 : -1;
  if (a.value.length !== b.value.length) return b.value.length - a.value.length;
  return a.value < b.value ? 1 : -1;
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
  const { suffix, index } = entry.name;
  out[at] = suffix.length;
  out[at + 1] = index;
  out[at + 2] = value.length & 0xff;
  out[at + 3] = value.length >> 8;
  putBytes(out, at + XATTR_ENTRY_SIZE, suffix);
  putBytes(out, at + XATTR_ENTRY_SIZE + suffix.length, value);
}

export function putBytes(out: Uint8Array, at: number, text: ByteString): void {
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
}
