/**
 * The xattrs of an EROFS image: bounds, prefixes, names, no name twice in one inode. Source: the kernel's
 * fs/erofs/erofs_fs.h, struct erofs_xattr_ibody_header and erofs_xattr_entry.
 */

import { roundUp } from './bytes.ts';
import { type ByteString, fromByteString, printable, toByteString } from './encoding.ts';
import type { Place } from './erofs-findings.ts';
import type { Bytes, ErofsInode } from './erofs-inode.ts';
import {
  joinXattrName,
  splitXattrName,
  XATTR_ENTRY_SIZE,
  XATTR_HEADER_SIZE,
  XATTR_REF_SIZE,
} from './erofs-layout.ts';

/** Where xattrs are read from. */
export interface XattrSource extends Bytes {
  /** References to shared xattrs count words from here. */
  readonly sharedBase: number;
  /** Offsets of the xattrs that were located so far. */
  readonly xattrs: number[];
}

export interface RawXattr {
  readonly key: ByteString;
  /** A view of the image. */
  readonly value: Uint8Array;
}

/** Fewer are compared pair by pair, which needs no text. */
const FEW = 8;
const MAX_KEY_BYTES = 255;

/** Bytes of the entry at `at`, its padding included. */
export function entrySize(view: DataView, at: number): number {
  return roundUp(XATTR_ENTRY_SIZE + view.getUint8(at) + view.getUint16(at + 2, true), 4);
}

/** Whether a whole entry with a usable name stands at `at` and ends at or before `limit`. */
function checkEntry(source: Bytes, at: number, limit: number, place: Place | undefined): boolean {
  const { view, findings, bytes } = source;
  if (at + XATTR_ENTRY_SIZE > limit || at + entrySize(view, at) > limit) {
    findings.add('erofs-xattr-truncated', at, 'an xattr does not fit', place);
    source.complete = false;
    return false;
  }
  const nameEnd = at + XATTR_ENTRY_SIZE + view.getUint8(at);
  let hasNul = false;
  for (let i = at + XATTR_ENTRY_SIZE; i < nameEnd; i++) if (bytes[i] === 0) hasNul = true;
  const index = view.getUint8(at + 1);
  const prefix = joinXattrName(index, '' as ByteString);
  const length = (prefix?.length ?? 0) + view.getUint8(at);
  if (prefix !== undefined && length > 0 && length <= MAX_KEY_BYTES && !hasNul) return true;
  const fact = `an xattr has prefix ${index} and an unusable name of ${length} bytes`;
  findings.add('erofs-xattr-name-invalid', at, fact, place);
  source.complete = false;
  return false;
}

/** Notes the places of all usable entries of an inode in `source.xattrs`: the inline ones, then the shared ones. */
export function locateXattrs(
  source: XattrSource,
  inode: ErofsInode,
  useShared: (offset: number, place: Place) => boolean,
): void {
  const { view, findings, xattrs } = source;
  const { xattrStart: start, xattrEnd: end } = inode;
  inode.xattrsFrom = xattrs.length;
  const refs = view.getUint8(start + 4);
  let at = start + XATTR_HEADER_SIZE + refs * XATTR_REF_SIZE;
  if (at > end) {
    const fact = `${refs} shared xattrs do not fit the xattrs of ${end - start} bytes`;
    findings.add('erofs-xattr-truncated', start, fact, inode);
    source.complete = false;
  } else {
    while (at < end && checkEntry(source, at, end, inode)) {
      xattrs.push(at);
      at += entrySize(view, at);
    }
    inode.sharedFrom = xattrs.length;
    for (let i = 0; i < refs; i++) {
      const ref = view.getUint32(start + XATTR_HEADER_SIZE + i * XATTR_REF_SIZE, true);
      const offset = source.sharedBase + ref * 4;
      if (useShared(offset, inode)) xattrs.push(offset);
    }
  }
  inode.xattrsTo = xattrs.length;
  if (inode.xattrsTo - inode.xattrsFrom > 1) requireDistinct(source, inode);
}

/** Checks a shared entry that nobody has referred to before. */
export function checkSharedXattr(source: Bytes, offset: number, place: Place): boolean {
  return checkEntry(source, offset, source.bytes.length, place);
}

function requireDistinct(source: XattrSource, inode: ErofsInode): void {
  const few = inode.xattrsTo - inode.xattrsFrom <= FEW;
  const repeated = few ? repeatedOfFew(source, inode) : repeatedOfMany(source, inode);
  if (repeated === undefined) return;
  const fact = `the xattr "${printable(xattrAt(source, repeated).key)}" is repeated`;
  source.findings.add('erofs-xattr-duplicate', repeated, fact, inode);
}

function repeatedOfFew(source: XattrSource, { xattrsFrom, xattrsTo }: ErofsInode): number | undefined {
  for (let i = xattrsFrom + 1; i < xattrsTo; i++) {
    const at = source.xattrs[i] ?? 0;
    for (let j = xattrsFrom; j < i; j++) if (sameName(source, source.xattrs[j] ?? 0, at)) return at;
  }
  return undefined;
}

/** That two names with different prefixes are the same is for the second gate: it knows the prefix each must have. */
function sameName({ bytes }: Bytes, a: number, b: number): boolean {
  if (bytes[a] !== bytes[b] || bytes[a + 1] !== bytes[b + 1]) return false;
  const length = bytes[a] ?? 0;
  for (let i = 0; i < length; i++) {
    if (bytes[a + XATTR_ENTRY_SIZE + i] !== bytes[b + XATTR_ENTRY_SIZE + i]) return false;
  }
  return true;
}

function repeatedOfMany(source: XattrSource, { xattrsFrom, xattrsTo }: ErofsInode): number | undefined {
  const keys = new Set<ByteString>();
  for (const at of source.xattrs.slice(xattrsFrom, xattrsTo)) {
    const { key } = xattrAt(source, at);
    if (keys.has(key)) return at;
    keys.add(key);
  }
  return undefined;
}

/** Only of places that were checked. */
export function xattrAt({ view, bytes }: Bytes, at: number): RawXattr {
  const nameStart = at + XATTR_ENTRY_SIZE;
  const nameEnd = nameStart + view.getUint8(at);
  const suffix = toByteString(bytes.subarray(nameStart, nameEnd));
  const key = joinXattrName(view.getUint8(at + 1), suffix) ?? suffix;
  return { key, value: bytes.subarray(nameEnd, nameEnd + view.getUint16(at + 2, true)) };
}

/** A name as it is stored, to be compared without making text. */
export interface XattrPattern {
  readonly index: number;
  readonly suffix: Uint8Array;
}

export function xattrPattern(key: ByteString): XattrPattern {
  const { index, suffix } = splitXattrName(key);
  return { index, suffix: fromByteString(suffix) };
}

/** Whether the name of the xattr at `at` begins so. */
export function beginsXattr(bytes: Uint8Array, at: number, { index, suffix }: XattrPattern): boolean {
  if (bytes[at + 1] !== index || (bytes[at] ?? 0) < suffix.length) return false;
  for (let i = 0; i < suffix.length; i++) if (bytes[at + XATTR_ENTRY_SIZE + i] !== suffix[i]) return false;
  return true;
}

/** Whether the xattr at `at` has this name. */
export function isXattr(bytes: Uint8Array, at: number, pattern: XattrPattern): boolean {
  return bytes[at] === pattern.suffix.length && beginsXattr(bytes, at, pattern);
}
