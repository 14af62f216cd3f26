/**
 * The xattrs of an EROFS image: bounds, prefixes, names, no name twice in one inode. Source: the kernel's
 * fs/erofs/erofs_fs.h, struct erofs_xattr_ibody_header and erofs_xattr_entry.
 */

import { compareRanges } from './bytes.ts';
import { type ByteString, fromByteString, printable, toByteString } from './encoding.ts';
import type { ErofsImage } from './erofs-image.ts';
import { type Bytes, ErofsInode, xattrStartOf } from './erofs-inode.ts';
import {
  joinXattrName,
  splitXattrName,
  XATTR_ENTRY_SIZE,
  XATTR_HEADER_SIZE,
  XATTR_REF_SIZE,
} from './erofs-layout.ts';
import { METACOPY, OVERLAY_PREFIX, REDIRECT } from './overlay.ts';

export interface RawXattr {
  readonly key: ByteString;
  /** A view of the image. */
  readonly value: Uint8Array;
}

/** Fewer are compared pair by pair, which needs no text. */
const FEW = 8;
const MAX_KEY_BYTES = 255;

// Of the name of an entry. Most entries of an image are one of the last two: nobody makes text of these names.
export const KIND_VISIBLE = 0;
/** `trusted.overlay.`: overlayfs takes it for its own. */
export const KIND_OVERLAY = 1;
export const KIND_METACOPY = 2;
export const KIND_REDIRECT = 3;

const STORED_OVERLAY = splitXattrName(OVERLAY_PREFIX);
const STORED_METACOPY = splitXattrName(METACOPY);
const TRUSTED = STORED_OVERLAY.index;
const USER = splitXattrName('user.overlay.' as ByteString).index;
const OVERLAY_BYTES = STORED_OVERLAY.suffix.length;
const METACOPY_BYTES = STORED_METACOPY.suffix.length;

/** A name as it is stored, in words: entries stand at multiples of four, and these names fill 2 and 4 words. */
function wordsOf(key: ByteString): Int32Array {
  return new Int32Array(fromByteString(splitXattrName(key).suffix).buffer);
}

const [OVERLAY_0, OVERLAY_1] = wordsOf(OVERLAY_PREFIX);
const [, , METACOPY_2, METACOPY_3] = wordsOf(METACOPY);
const [, , REDIRECT_2, REDIRECT_3] = wordsOf(REDIRECT);

/** Only of an entry that is in bounds. */
export function kindOf(source: Bytes, at: number): number {
  const { words } = source;
  if (!isBelowOverlay(source, at, TRUSTED)) return KIND_VISIBLE;
  const first = at >> 2;
  if (((words[first] as number) & 0xff) !== METACOPY_BYTES) return KIND_OVERLAY;
  if (words[first + 3] === METACOPY_2 && words[first + 4] === METACOPY_3) return KIND_METACOPY;
  return words[first + 3] === REDIRECT_2 && words[first + 4] === REDIRECT_3 ? KIND_REDIRECT : KIND_OVERLAY;
}

/** Whether the name is that prefix with `overlay.` behind it, and what may follow. */
function isBelowOverlay({ words }: Bytes, at: number, prefix: number): boolean {
  const first = at >> 2;
  const head = words[first] as number;
  return (
    words[first + 1] === OVERLAY_0 &&
    words[first + 2] === OVERLAY_1 &&
    ((head >> 8) & 0xff) === prefix &&
    (head & 0xff) >= OVERLAY_BYTES
  );
}

/** `user.overlay.`, which marks whiteouts, too. */
export function isUserOverlay(source: Bytes, at: number): boolean {
  return isBelowOverlay(source, at, USER);
}

/** Bytes of the name without its prefix. */
export function nameLength({ words }: Bytes, at: number): number {
  return (words[at >> 2] as number) & 0xff;
}

export function valueLength({ words }: Bytes, at: number): number {
  return (words[at >> 2] as number) >>> 16;
}

export function valueStart(source: Bytes, at: number): number {
  return at + XATTR_ENTRY_SIZE + nameLength(source, at);
}

/** Behind the value; padding follows. */
export function valueEnd(source: Bytes, at: number): number {
  const head = source.words[at >> 2] as number;
  return at + XATTR_ENTRY_SIZE + (head & 0xff) + (head >>> 16);
}

/** Behind the entry at `at`, its padding included. */
export function entryEnd(source: Bytes, at: number): number {
  return (valueEnd(source, at) + 3) & ~3;
}

/** Whether a whole entry stands at `at` and ends at or before `limit`; `row` refers to it. */
function fits(image: ErofsImage, at: number, limit: number, row: number): boolean {
  if (at + XATTR_ENTRY_SIZE <= limit && entryEnd(image, at) <= limit) return true;
  image.findings.add('erofs-xattr-truncated', at, 'an xattr does not fit', new ErofsInode(image, row));
  image.complete = false;
  return false;
}

/** Of an entry that fits. */
function checkName(image: ErofsImage, at: number, row: number): boolean {
  const { bytes, findings } = image;
  const nameEnd = valueStart(image, at);
  let hasNul = false;
  for (let i = at + XATTR_ENTRY_SIZE; i < nameEnd; i++) if (bytes[i] === 0) hasNul = true;
  const index = bytes[at + 1] as number;
  const prefix = joinXattrName(index, '' as ByteString);
  const length = (prefix?.length ?? 0) + nameLength(image, at);
  if (prefix !== undefined && length > 0 && length <= MAX_KEY_BYTES && !hasNul) return true;
  const fact = `an xattr has prefix ${index} and an unusable name of ${length} bytes`;
  findings.add('erofs-xattr-name-invalid', at, fact, new ErofsInode(image, row));
  image.complete = false;
  return false;
}

/** Notes the places of all usable entries of an inode: the inline ones, then the shared ones. */
export function locateXattrs(image: ErofsImage, row: number): void {
  const { bytes, inodes, words, xattrs } = image;
  const start = xattrStartOf(image, row);
  const end = inodes.xattrEnd[row] as number;
  const from = xattrs.count;
  const refs = bytes[start + 4] as number;
  const refsStart = start + XATTR_HEADER_SIZE;
  const inline = refsStart + refs * XATTR_REF_SIZE;
  if (inline > end) {
    const fact = `${refs} shared xattrs do not fit the xattrs of ${end - start} bytes`;
    image.findings.add('erofs-xattr-truncated', start, fact, new ErofsInode(image, row));
    image.complete = false;
    noteRows(image, row, from, from);
    return;
  }
  for (let at = inline; at < end; ) {
    const next = entryEnd(image, at);
    const kind = next > end ? KIND_VISIBLE : kindOf(image, at);
    if (kind < KIND_METACOPY && !(fits(image, at, end, row) && checkName(image, at, row))) break;
    xattrs.add(at, kind);
    at = next;
  }
  const shared = xattrs.count;
  for (let i = 0; i < refs; i++) {
    const ref = (words[(refsStart + i * XATTR_REF_SIZE) >> 2] as number) >>> 0;
    const at = image.sharedBase + ref * 4;
    if (image.useShared(at, row)) xattrs.add(at, kindOf(image, at));
  }
  noteRows(image, row, from, shared);
  if (xattrs.count - from > 1) requireDistinct(image, row);
}

function noteRows({ inodes, xattrs }: ErofsImage, row: number, from: number, shared: number): void {
  inodes.xattrsFrom[row] = from;
  inodes.sharedFrom[row] = shared;
  inodes.xattrsTo[row] = xattrs.count;
}

/** Checks a shared entry that nobody has referred to before. */
export function checkSharedXattr(image: ErofsImage, at: number, row: number): boolean {
  return fits(image, at, image.bytes.length, row) && checkName(image, at, row);
}

function requireDistinct(image: ErofsImage, row: number): void {
  const from = image.inodes.xattrsFrom[row] as number;
  const to = image.inodes.xattrsTo[row] as number;
  const repeated = to - from <= FEW ? repeatedOfFew(image, from, to) : repeatedOfMany(image, from, to);
  if (repeated === 0) return;
  const fact = `the xattr "${printable(xattrAt(image, repeated).key)}" is repeated`;
  image.findings.add('erofs-xattr-duplicate', repeated, fact, new ErofsInode(image, row));
}

/** Where an entry stands whose name came before; 0 for none. */
function repeatedOfFew(image: ErofsImage, from: number, to: number): number {
  const { at, kind } = image.xattrs;
  for (let i = from + 1; i < to; i++) {
    for (let j = from; j < i; j++) {
      if (kind[i] === kind[j] && sameName(image, at[j] as number, at[i] as number)) return at[i] as number;
    }
  }
  return 0;
}

/** That two names with different prefixes are the same is for the second gate: it knows the prefix each must have. */
function sameName({ bytes }: Bytes, a: number, b: number): boolean {
  const length = bytes[a] as number;
  if (bytes[b] !== length || bytes[a + 1] !== bytes[b + 1]) return false;
  return compareRanges(bytes, a + XATTR_ENTRY_SIZE, length, b + XATTR_ENTRY_SIZE, length) === 0;
}

function repeatedOfMany(image: ErofsImage, from: number, to: number): number {
  const keys = new Set<ByteString>();
  for (let i = from; i < to; i++) {
    const at = image.xattrs.at[i] as number;
    const { key } = xattrAt(image, at);
    if (keys.has(key)) return at;
    keys.add(key);
  }
  return 0;
}

/** Only of places that were checked. */
export function xattrAt(source: Bytes, at: number): RawXattr {
  const { bytes } = source;
  const start = valueStart(source, at);
  const suffix = toByteString(bytes.subarray(at + XATTR_ENTRY_SIZE, start));
  const key = joinXattrName(bytes[at + 1] as number, suffix) ?? suffix;
  return { key, value: bytes.subarray(start, start + valueLength(source, at)) };
}
