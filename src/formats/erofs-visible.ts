/**
 * What a mount shows of a stored inode: overlayfs's own xattrs become backing path, digest and whiteouts, escaped
 * names become plain ones again. Refuses every use of them that composefs does not make.
 */

import { equalBytes } from './bytes.ts';
import { type ByteString, printable, toByteString } from './encoding.ts';
import { type ErofsImage, malformed, type RawInode, type RawXattr } from './erofs-image.ts';
import { LAYOUT_CHUNK_BASED } from './erofs-layout.ts';
import { type Inode, OBJECT_DIR_NAMES, SELINUX, WHITEOUT_MODE } from './erofs-plan.ts';
import * as overlay from './overlay.ts';
import {
  MAX_CONTENT_BYTES,
  MAX_PAYLOAD_BYTES,
  S_IFBLK,
  S_IFCHR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type TreeNode,
} from './tree.ts';

/** Without children; those of a directory are the reader's business. */
export function visibleNode(
  image: ErofsImage,
  raw: RawInode,
  xattrs: readonly RawXattr[],
  isRoot: boolean,
): TreeNode {
  const type = raw.mode & S_IFMT;
  const node: TreeNode = {
    mode: raw.mode,
    uid: raw.uid,
    gid: raw.gid,
    rdev: type === S_IFCHR || type === S_IFBLK ? raw.union : 0,
    nlink: raw.nlink,
    size: raw.size,
    mtimeSec: raw.mtimeSec,
    mtimeNsec: raw.mtimeNsec,
    xattrs: new Map(),
  };
  if (type === S_IFLNK) node.payload = readTarget(image, raw);
  if (type === S_IFREG && raw.layout !== LAYOUT_CHUNK_BASED && raw.size > 0)
    node.content = readContent(image, raw);
  let metacopy = false;
  let opaque = false;
  for (const { key, value } of xattrs) {
    if (!key.startsWith(overlay.OVERLAY_PREFIX)) {
      if (key !== overlay.USER_WHITEOUT && key !== overlay.USER_WHITEOUTS) node.xattrs.set(key, value);
    } else if (key === overlay.METACOPY) {
      readMetacopy(raw, node, value);
      metacopy = true;
    } else if (key === overlay.REDIRECT) {
      readRedirect(raw, node, value);
    } else if (key === overlay.OPAQUE && isRoot && toByteString(value) === overlay.OPAQUE_ROOT) {
      opaque = true;
    } else if (key === overlay.ESCAPED_WHITEOUT && type === S_IFREG) {
      becomeWhiteout(raw, node);
    } else if (key !== overlay.ESCAPED_WHITEOUTS) {
      const visible = overlay.unescapeXattrName(key);
      if (visible === undefined) {
        throw malformed(
          'composefs-xattr-unexpected',
          raw.offset,
          `the xattr "${printable(key)}" is not expected, of the inode`,
        );
      }
      node.xattrs.set(visible, value);
    }
  }
  if (metacopy !== (raw.layout === LAYOUT_CHUNK_BASED)) {
    throw malformed(
      'composefs-metacopy-invalid',
      raw.offset,
      'xattr metacopy and the data do not fit each other, of the inode',
    );
  }
  if (isRoot && !opaque)
    throw malformed(
      'composefs-root-not-opaque',
      raw.offset,
      'xattr trusted.overlay.opaque=y is missing, of the root',
    );
  return node;
}

function readTarget(image: ErofsImage, raw: RawInode): ByteString {
  if (raw.size === 0 || raw.size > MAX_PAYLOAD_BYTES) {
    throw malformed(
      'composefs-target-invalid',
      raw.offset,
      `the link target has ${raw.size} bytes, of the inode`,
    );
  }
  const target = toByteString(image.data(raw));
  if (target.includes('\0'))
    throw malformed('composefs-target-invalid', raw.offset, 'the link target has a NUL, of the inode');
  return target;
}

function readContent(image: ErofsImage, raw: RawInode): Uint8Array {
  if (raw.size > MAX_CONTENT_BYTES) {
    const fact = `${raw.size} bytes of inline content are more than ${MAX_CONTENT_BYTES}, of the inode`;
    throw malformed('composefs-content-too-large', raw.offset, fact);
  }
  return image.data(raw);
}

function readMetacopy(raw: RawInode, node: TreeNode, value: Uint8Array): void {
  const digest = overlay.parseMetacopy(toByteString(value));
  if (digest === undefined) {
    const fact = `xattr metacopy of ${value.length} bytes is neither empty nor a SHA-256 digest, of the inode`;
    throw malformed('composefs-metacopy-invalid', raw.offset, fact);
  }
  if (digest !== 'none') node.digest = digest;
}

function readRedirect(raw: RawInode, node: TreeNode, value: Uint8Array): void {
  const payload = overlay.parseRedirect(toByteString(value));
  if (payload === undefined || payload.length > MAX_PAYLOAD_BYTES || raw.layout !== LAYOUT_CHUNK_BASED) {
    const fact = `xattr redirect "${printable(toByteString(value))}" is not a backing path, of the inode`;
    throw malformed('composefs-redirect-invalid', raw.offset, fact);
  }
  node.payload = payload;
}

function becomeWhiteout(raw: RawInode, node: TreeNode): void {
  if (raw.size !== 0) {
    throw malformed(
      'composefs-whiteout-invalid',
      raw.offset,
      `a whiteout has ${raw.size} bytes, of the inode`,
    );
  }
  node.mode = (raw.mode & ~S_IFMT) | S_IFCHR;
}

const OBJECT_DIR_NAME_SET: ReadonlySet<string> = new Set(OBJECT_DIR_NAMES);

/** The only real whiteouts are those that composefs itself adds to the root. */
export function requireRootWhiteout(
  offset: number,
  dir: Inode,
  whiteout: Inode,
  name: ByteString,
  repeated: boolean,
): void {
  const root = dir.node;
  const { node } = whiteout;
  const label = root.xattrs.get(SELINUX);
  const own = node.xattrs.get(SELINUX);
  const sameLabel = label === undefined || own === undefined ? label === own : equalBytes(label, own);
  const genuine =
    dir.parent === undefined &&
    OBJECT_DIR_NAME_SET.has(name) &&
    !repeated &&
    whiteout.mode === WHITEOUT_MODE &&
    node.nlink === 1 &&
    node.uid === root.uid &&
    node.gid === root.gid &&
    node.mtimeSec === root.mtimeSec &&
    node.mtimeNsec === root.mtimeNsec &&
    sameLabel &&
    whiteout.xattrs.length === (label === undefined ? 0 : 1);
  if (!genuine) {
    throw malformed(
      'composefs-whiteout-invalid',
      offset,
      `"${printable(name)}" is a real whiteout, in the directory`,
    );
  }
}
