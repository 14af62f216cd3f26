/**
 * What a mount shows of a stored inode: overlayfs's own xattrs become backing path, digest and whiteouts, escaped
 * names become plain ones again. Finds every use of them that composefs does not make.
 */

import { type ByteString, fromByteString, printable, toByteString } from './encoding.ts';
import type { ErofsImage } from './erofs-image.ts';
import {
  ErofsInode,
  gidOf,
  isChunked,
  mtimeAt,
  nanosecondsAt,
  nlinkOf,
  secondsAt,
  sizeOf,
  uidOf,
  unionOf,
} from './erofs-inode.ts';
import { FORMAT_LAYOUT_SHIFT, LAYOUT_CHUNK_BASED } from './erofs-layout.ts';
import { NONE } from './erofs-tables.ts';
import {
  KIND_METACOPY,
  KIND_REDIRECT,
  KIND_VISIBLE,
  valueEnd,
  valueLength,
  valueStart,
  xattrAt,
} from './erofs-xattr-read.ts';
import * as overlay from './overlay.ts';
import {
  MAX_CONTENT_BYTES,
  MAX_PAYLOAD_BYTES,
  NO_XATTRS,
  newNode,
  S_IFBLK,
  S_IFCHR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type TreeNode,
} from './tree.ts';

const METACOPY_HEADER_BYTES = 4;
/** By the length of the whole, the header as a word. */
const METACOPY_HEADERS: ReadonlyMap<number, number | undefined> = new Map(
  overlay.METACOPY_HEADERS.map(([digestBytes, header]) => [
    METACOPY_HEADER_BYTES + digestBytes,
    new Int32Array(fromByteString(header).buffer)[0],
  ]),
);
const SLASH = 0x2f;

/**
 * Notes what overlayfs makes of the xattrs of the inodes in rows from `from` up to `to`, and requires data that
 * composefs gives to their type. Adds the rows of real whiteouts to `whiteouts`.
 */
export function interpret(image: ErofsImage, from: number, to: number, whiteouts: number[]): void {
  const { format, mode, redirect, metacopy, hasVisibleXattrs, isWhiteout, xattrsFrom, xattrsTo } =
    image.inodes;
  const { at, kind } = image.xattrs;
  for (let row = from; row < to; row++) {
    const end = xattrsTo[row] as number;
    let hasMetacopy = false;
    let opaque = false;
    for (let i = xattrsFrom[row] as number; i < end; i++) {
      const what = kind[i];
      if (what === KIND_METACOPY) {
        metacopy[row] = at[i] as number;
        hasMetacopy = true;
        checkMetacopy(image, row, at[i] as number);
      } else if (what === KIND_REDIRECT) {
        if (isRedirect(image, row, at[i] as number)) redirect[row] = at[i] as number;
      } else if (what === KIND_VISIBLE) {
        hasVisibleXattrs[row] = 1;
      } else if (readOther(image, row, at[i] as number)) {
        opaque = true;
      }
    }
    const chunked = (format[row] as number) >> FORMAT_LAYOUT_SHIFT === LAYOUT_CHUNK_BASED;
    if (hasMetacopy !== chunked) {
      const fact = chunked
        ? 'a file has chunks and no xattr metacopy'
        : 'a file has an xattr metacopy and no chunks';
      report(image, row, 'composefs-metacopy-invalid', fact);
    }
    if (row === 0 && !opaque) {
      const fact = 'the root has no xattr trusted.overlay.opaque=y';
      report(image, row, 'composefs-root-not-opaque', fact);
    }
    const type = (mode[row] as number) & S_IFMT;
    if (isWhiteout[row] !== 0) requireEmpty(image, row);
    if (type === S_IFLNK) requireTarget(image, row);
    else if (type === S_IFREG && !chunked) requireSmall(image, row);
    else if (type === S_IFCHR && isRealWhiteout(image, row)) whiteouts.push(row);
  }
}

function report(image: ErofsImage, row: number, code: string, fact: string): void {
  const inode = new ErofsInode(image, row);
  image.findings.add(code, inode.offset, fact, inode);
}

function requireEmpty(image: ErofsImage, row: number): void {
  const size = sizeOf(image, row);
  if (size !== 0) report(image, row, 'composefs-whiteout-invalid', `a whiteout has ${size} bytes`);
}

function requireTarget(image: ErofsImage, row: number): void {
  const size = sizeOf(image, row);
  if (size === 0 || size > MAX_PAYLOAD_BYTES) {
    report(image, row, 'composefs-target-invalid', `a link target has ${size} bytes`);
    return;
  }
  const start = image.dataStart(row);
  const hasNulByte = start === NONE ? image.data(row).includes(0) : hasNul(image.bytes, start, start + size);
  if (hasNulByte) report(image, row, 'composefs-target-invalid', 'a link target has a NUL');
}

function requireSmall(image: ErofsImage, row: number): void {
  const size = sizeOf(image, row);
  if (size <= MAX_CONTENT_BYTES) return;
  const fact = `${size} bytes of inline content are more than ${MAX_CONTENT_BYTES}`;
  report(image, row, 'composefs-content-too-large', fact);
}

function checkMetacopy(image: ErofsImage, row: number, at: number): void {
  const length = valueLength(image, at);
  const header = image.words[valueStart(image, at) >> 2];
  // The name has whole words, and so the value stands at one.
  if (length === 0 || header === METACOPY_HEADERS.get(length)) return;
  const fact = `an xattr metacopy of ${length} bytes is neither empty nor a SHA-256 or SHA-512 digest`;
  image.findings.add('composefs-metacopy-invalid', at, fact, new ErofsInode(image, row));
}

function isRedirect(image: ErofsImage, row: number, at: number): boolean {
  const { bytes } = image;
  const start = valueStart(image, at);
  const end = valueEnd(image, at);
  const sized = end - start >= 2 && end - start <= MAX_PAYLOAD_BYTES + 1;
  if (sized && bytes[start] === SLASH && isChunked(image, row) && !hasNul(bytes, start, end)) return true;
  const value = toByteString(bytes.subarray(start, end));
  const fact = `the xattr redirect "${printable(value)}" is not the backing path of a file`;
  image.findings.add('composefs-redirect-invalid', at, fact, new ErofsInode(image, row));
  return false;
}

function hasNul(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] === 0) return true;
  return false;
}

/** True for the mark of the root. */
function readOther(image: ErofsImage, row: number, at: number): boolean {
  const { inodes } = image;
  const { key, value } = xattrAt(image, at);
  if (key === overlay.ESCAPED_WHITEOUT && isFile(image, row)) {
    inodes.isWhiteout[row] = 1;
  } else if (overlay.unescapeXattrName(key) !== undefined) {
    inodes.hasVisibleXattrs[row] = 1;
  } else if (row === 0 && key === overlay.OPAQUE && toByteString(value) === overlay.OPAQUE_ROOT) {
    return true;
  } else {
    const fact = `the xattr "${printable(key)}" is one that composefs does not write here`;
    image.findings.add('composefs-xattr-unexpected', at, fact, new ErofsInode(image, row));
  }
  return false;
}

function isFile({ inodes }: ErofsImage, row: number): boolean {
  return ((inodes.mode[row] as number) & S_IFMT) === S_IFREG;
}

/** What overlayfs takes for a deleted name; composefs stores those of the tree as xattrs. */
export function isRealWhiteout(image: ErofsImage, row: number): boolean {
  return ((image.inodes.mode[row] as number) & S_IFMT) === S_IFCHR && unionOf(image, row) === 0;
}

// What is seen of an inode that `interpret` has found nothing wrong with. Children are the reader's business.

export function visibleMode(image: ErofsImage, row: number): number {
  const mode = image.inodes.mode[row] as number;
  return image.inodes.isWhiteout[row] === 0 ? mode : (mode & ~S_IFMT) | S_IFCHR;
}

export function visibleRdev(image: ErofsImage, row: number): number {
  const type = (image.inodes.mode[row] as number) & S_IFMT;
  return type === S_IFCHR || type === S_IFBLK ? unionOf(image, row) : 0;
}

/** Where the backing path of a file begins, which ends with its xattr redirect; 0 when it has none. */
export function payloadStart(image: ErofsImage, row: number): number {
  const at = image.inodes.redirect[row] as number;
  return at === 0 ? 0 : valueStart(image, at) + 1;
}

/** Where the digest of a file begins, which ends with its xattr metacopy; 0 when it has none. */
export function digestStart(image: ErofsImage, row: number): number {
  const at = image.inodes.metacopy[row] as number;
  return at === 0 || valueLength(image, at) === 0 ? 0 : valueStart(image, at) + METACOPY_HEADER_BYTES;
}

export function hasInlineContent(image: ErofsImage, row: number): boolean {
  return isFile(image, row) && !isChunked(image, row) && sizeOf(image, row) > 0;
}

export function visibleNode(image: ErofsImage, row: number): TreeNode {
  const { bytes, inodes } = image;
  const time = mtimeAt(image, row);
  const node = newNode({
    mode: visibleMode(image, row),
    uid: uidOf(image, row),
    gid: gidOf(image, row),
    rdev: visibleRdev(image, row),
    nlink: nlinkOf(image, row),
    size: sizeOf(image, row),
    mtimeSec: secondsAt(image, time),
    mtimeNsec: nanosecondsAt(image, time),
    xattrs: inodes.hasVisibleXattrs[row] === 0 ? NO_XATTRS : visibleXattrs(image, row),
  });
  const payload = payloadStart(image, row);
  const digest = digestStart(image, row);
  if (((inodes.mode[row] as number) & S_IFMT) === S_IFLNK) node.payload = toByteString(image.data(row));
  else if (payload > 0) {
    const end = valueEnd(image, inodes.redirect[row] as number);
    node.payload = toByteString(bytes, payload, end);
  }
  if (digest > 0) {
    node.digest = toByteString(bytes, digest, valueEnd(image, inodes.metacopy[row] as number));
  }
  if (hasInlineContent(image, row)) node.content = image.data(row);
  return node;
}

/** In stored order, the inline ones first. */
export function visibleXattrs(image: ErofsImage, row: number): Map<ByteString, Uint8Array> {
  const { inodes, xattrs } = image;
  const visible = new Map<ByteString, Uint8Array>();
  const to = inodes.xattrsTo[row] as number;
  for (let i = inodes.xattrsFrom[row] as number; i < to; i++) {
    const { key, value } = xattrAt(image, xattrs.at[i] as number);
    const name = visibleName(key, isFile(image, row));
    if (name !== undefined) visible.set(name, value);
  }
  return visible;
}

/** The marks that composefs adds for whiteouts are not shown. */
function visibleName(key: ByteString, isFile: boolean): ByteString | undefined {
  if (key === overlay.USER_WHITEOUT || key === overlay.USER_WHITEOUTS) return undefined;
  if (key === overlay.ESCAPED_WHITEOUTS || (key === overlay.ESCAPED_WHITEOUT && isFile)) return undefined;
  return overlay.unescapeXattrName(key);
}
