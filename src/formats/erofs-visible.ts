/**
 * What a mount shows of a stored inode: overlayfs's own xattrs become backing path, digest and whiteouts, escaped
 * names become plain ones again. Finds every use of them that composefs does not make.
 */

import { type ByteString, fromByteString, printable, toByteString } from './encoding.ts';
import type { ErofsImage } from './erofs-image.ts';
import type { ErofsInode } from './erofs-inode.ts';
import { LAYOUT_CHUNK_BASED, XATTR_ENTRY_SIZE } from './erofs-layout.ts';
import { beginsXattr, isXattr, xattrAt, xattrPattern } from './erofs-xattr-read.ts';
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

// These come by the ten thousand: text is made of them only where somebody asks.
const OVERLAY_NAME = xattrPattern(overlay.OVERLAY_PREFIX);
const METACOPY_NAME = xattrPattern(overlay.METACOPY);
const REDIRECT_NAME = xattrPattern(overlay.REDIRECT);
const METACOPY_HEADERS = overlay.METACOPY_HEADERS.map(([, header]) => fromByteString(header));
const METACOPY_HEADER_BYTES = 4;
const SLASH = 0x2f;

/** Fills in what overlayfs makes of the xattrs of an inode, and requires data that composefs gives to its type. */
export function interpret(image: ErofsImage, inode: ErofsInode): void {
  const chunked = inode.layout === LAYOUT_CHUNK_BASED;
  let metacopy = false;
  let opaque = false;
  for (let i = inode.xattrsFrom; i < inode.xattrsTo; i++) {
    const at = image.xattrs[i] ?? 0;
    if (!beginsXattr(image.bytes, at, OVERLAY_NAME)) {
      inode.hasVisibleXattrs = true;
    } else if (isXattr(image.bytes, at, METACOPY_NAME)) {
      readMetacopy(image, inode, at);
      metacopy = true;
    } else if (isXattr(image.bytes, at, REDIRECT_NAME)) {
      readRedirect(image, inode, at);
    } else if (readOther(image, inode, at)) {
      opaque = true;
    }
  }
  if (metacopy !== chunked) {
    const fact = chunked
      ? 'a file has chunks and no xattr metacopy'
      : 'a file has an xattr metacopy and no chunks';
    image.findings.add('composefs-metacopy-invalid', inode.offset, fact, inode);
  }
  if (inode.parent === undefined && !opaque) {
    const fact = 'the root has no xattr trusted.overlay.opaque=y';
    image.findings.add('composefs-root-not-opaque', inode.offset, fact, inode);
  }
  requireUsualData(image, inode);
}

function requireUsualData(image: ErofsImage, inode: ErofsInode): void {
  const { findings } = image;
  const { mode, offset, size } = inode;
  const type = mode & S_IFMT;
  if (inode.whiteout && size !== 0) {
    findings.add('composefs-whiteout-invalid', offset, `a whiteout has ${size} bytes`, inode);
  }
  if (type === S_IFLNK) {
    if (size === 0 || size > MAX_PAYLOAD_BYTES) {
      findings.add('composefs-target-invalid', offset, `a link target has ${size} bytes`, inode);
    } else if (image.data(inode).includes(0)) {
      findings.add('composefs-target-invalid', offset, 'a link target has a NUL', inode);
    }
  } else if (type === S_IFREG && inode.layout !== LAYOUT_CHUNK_BASED && size > MAX_CONTENT_BYTES) {
    const fact = `${size} bytes of inline content are more than ${MAX_CONTENT_BYTES}`;
    findings.add('composefs-content-too-large', offset, fact, inode);
  }
}

function readMetacopy(image: ErofsImage, inode: ErofsInode, at: number): void {
  const length = image.view.getUint16(at + 2, true);
  const value = at + XATTR_ENTRY_SIZE + METACOPY_NAME.suffix.length;
  const begins = (header: Uint8Array) =>
    header[1] === length && header.every((byte, i) => byte === image.bytes[value + i]);
  if (METACOPY_HEADERS.some(begins)) {
    inode.digestAt = value + METACOPY_HEADER_BYTES;
    inode.digestEnd = value + length;
  } else if (length !== 0) {
    const fact = `an xattr metacopy of ${length} bytes is neither empty nor a SHA-256 or SHA-512 digest`;
    image.findings.add('composefs-metacopy-invalid', at, fact, inode);
  }
}

function readRedirect(image: ErofsImage, inode: ErofsInode, at: number): void {
  const length = image.view.getUint16(at + 2, true);
  const start = at + XATTR_ENTRY_SIZE + REDIRECT_NAME.suffix.length;
  const end = start + length;
  let hasNul = false;
  for (let i = start; i < end; i++) if (image.bytes[i] === 0) hasNul = true;
  const sized = length >= 2 && length <= MAX_PAYLOAD_BYTES + 1;
  if (sized && !hasNul && image.bytes[start] === SLASH && inode.layout === LAYOUT_CHUNK_BASED) {
    inode.payloadAt = start + 1;
    inode.payloadEnd = end;
  } else {
    const value = toByteString(image.bytes.subarray(start, end));
    const fact = `the xattr redirect "${printable(value)}" is not the backing path of a file`;
    image.findings.add('composefs-redirect-invalid', at, fact, inode);
  }
}

/** True for the mark of the root. */
function readOther(image: ErofsImage, inode: ErofsInode, at: number): boolean {
  const { key, value } = xattrAt(image, at);
  if (key === overlay.ESCAPED_WHITEOUT && (inode.mode & S_IFMT) === S_IFREG) {
    inode.whiteout = true;
  } else if (overlay.unescapeXattrName(key) !== undefined) {
    inode.hasVisibleXattrs = true;
  } else if (
    inode.parent === undefined &&
    key === overlay.OPAQUE &&
    toByteString(value) === overlay.OPAQUE_ROOT
  ) {
    return true;
  } else {
    const fact = `the xattr "${printable(key)}" is one that composefs does not write here`;
    image.findings.add('composefs-xattr-unexpected', at, fact, inode);
  }
  return false;
}

/** What overlayfs takes for a deleted name; composefs stores those of the tree as xattrs. */
export function isRealWhiteout(inode: ErofsInode): boolean {
  return inode.union === 0 && (inode.mode & S_IFMT) === S_IFCHR;
}

/** What is seen of an inode that `interpret` has found nothing wrong with. Children are the reader's business. */
export function visibleNode(image: ErofsImage, inode: ErofsInode): TreeNode {
  const { mode, uid, gid, nlink, size, mtimeSec, mtimeNsec, digestAt, payloadAt } = inode;
  const type = mode & S_IFMT;
  const node = newNode({
    mode: inode.whiteout ? (mode & ~S_IFMT) | S_IFCHR : mode,
    uid,
    gid,
    rdev: type === S_IFCHR || type === S_IFBLK ? inode.union : 0,
    nlink,
    size,
    mtimeSec,
    mtimeNsec,
    xattrs: inode.hasVisibleXattrs ? visibleXattrs(image, inode) : NO_XATTRS,
  });
  if (type === S_IFLNK) node.payload = toByteString(image.data(inode));
  else if (payloadAt > 0) node.payload = toByteString(image.bytes.subarray(payloadAt, inode.payloadEnd));
  if (digestAt > 0) node.digest = image.bytes.subarray(digestAt, inode.digestEnd);
  if (type === S_IFREG && inode.layout !== LAYOUT_CHUNK_BASED && size > 0) node.content = image.data(inode);
  return node;
}

/** In stored order, the inline ones first. */
function visibleXattrs(image: ErofsImage, inode: ErofsInode): Map<ByteString, Uint8Array> {
  const visible = new Map<ByteString, Uint8Array>();
  for (let i = inode.xattrsFrom; i < inode.xattrsTo; i++) {
    const { key, value } = xattrAt(image, image.xattrs[i] ?? 0);
    const name = visibleName(key, (inode.mode & S_IFMT) === S_IFREG);
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
