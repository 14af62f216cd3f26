/**
 * Writes composefs images, byte for byte as libcomposefs 1.0.8 does: first every inode gets its place, then
 * everything is written. The image depends on the tree and the version range, on nothing else.
 *
 * Order in the image: composefs header, superblock, inodes (each with its xattrs and tail), shared xattrs, data blocks.
 */

import { roundUp } from './bytes.ts';
import type { ByteString } from './encoding.ts';
import * as layout from './erofs-layout.ts';
import { chooseVersion, type FormatVersion, type ImagePlan, type Inode, planImage } from './erofs-plan.ts';
import { putBytes, writeXattrArea, xattrAreaSize, xattrCount } from './erofs-xattrs.ts';
import { badInput } from './errors.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type ValidatedTree } from './tree.ts';

export interface ImageOptions {
  /** Default 0. */
  minVersion?: FormatVersion;
  /** Used when the tree needs it; default 1. A value below `minVersion` counts as `minVersion`. */
  maxVersion?: FormatVersion;
}

const { BLOCK_SIZE, SLOT_SIZE, DIRENT_SIZE } = layout;
const MAX_U16 = 0xffff;
const MAX_U32 = 0xffffffff;

/** The image of this tree. With the default options it is the one whose digest ostree puts into commits. */
export function writeImage(tree: ValidatedTree, options: ImageOptions = {}): Uint8Array {
  const plan = planImage(tree, chooseVersion(tree, options.minVersion ?? 0, options.maxVersion ?? 1));
  return emitImage(plan, layoutImage(plan));
}

export interface ImageLayout {
  /** Where the shared xattrs begin. */
  inodesEnd: number;
  size: number;
}

/** Gives every inode of the plan its place. */
export function layoutImage(plan: ImagePlan): ImageLayout {
  plan.xattrs.layoutShared();
  const inodesEnd = placeInodes(plan);
  const dataStart = roundUp(inodesEnd + plan.xattrs.sharedSize, BLOCK_SIZE);
  return { inodesEnd, size: dataStart + placeBlocks(plan, dataStart / BLOCK_SIZE) * BLOCK_SIZE };
}

/** The bytes of a plan that has its layout. The reader uses it, too, to see whether an image is what we would write. */
export function emitImage(plan: ImagePlan, { inodesEnd, size }: ImageLayout): Uint8Array {
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  writeHeader(view, plan);
  writeSuperblock(view, plan, inodesEnd, size);
  for (const inode of plan.inodes) writeInode(out, view, inode, inodesEnd % BLOCK_SIZE);
  plan.xattrs.writeShared(out, inodesEnd);
  return out;
}

/** Gives every inode its offset; returns where they end. */
function placeInodes(plan: ImagePlan): number {
  let offset: number = layout.SUPER.END;
  for (const inode of plan.inodes) {
    measure(inode);
    inode.extended = needsExtended(inode, plan);
    inode.xattrSize = xattrAreaSize(inode.xattrs);
    offset = placeInode(inode, roundUp(offset, SLOT_SIZE));
  }
  return roundUp(offset, SLOT_SIZE);
}

/** Whole blocks and the bytes behind the inode. */
function measure(inode: Inode): void {
  switch (inode.mode & S_IFMT) {
    case S_IFDIR:
      measureDirectory(inode);
      break;
    case S_IFLNK:
      inode.tail = inode.size;
      break;
    case S_IFREG:
      if (inode.external) inode.tail = layout.CHUNK_INDEX_SIZE * layout.chunkCount(inode.size);
      else if (inode.content !== undefined) {
        inode.tail = layout.tailOfContent(inode.content.length);
        inode.blocks = Math.ceil((inode.content.length - inode.tail) / BLOCK_SIZE);
      }
      break;
  }
}

function measureDirectory(inode: Inode): void {
  let blocks = 0;
  let used = 0;
  for (const { name } of inode.entries) {
    const size = DIRENT_SIZE + name.length;
    if (used + size > BLOCK_SIZE) {
      blocks++;
      used = 0;
    }
    used += size;
  }
  if (used > layout.MAX_TAIL) {
    blocks++;
    used = 0;
  }
  inode.blocks = blocks;
  inode.tail = used;
  inode.size = blocks * BLOCK_SIZE + used;
}

function needsExtended(inode: Inode, plan: ImagePlan): boolean {
  const { node } = inode;
  return (
    node.mtimeSec !== plan.buildTimeSec ||
    node.mtimeNsec !== plan.buildTimeNsec ||
    inode.nlink > MAX_U16 ||
    node.uid > MAX_U16 ||
    node.gid > MAX_U16 ||
    inode.size > MAX_U32
  );
}

function headSize(inode: Inode): number {
  return (inode.extended ? layout.INODE_EXTENDED_SIZE : layout.INODE_COMPACT_SIZE) + inode.xattrSize;
}

/** Returns where the inode ends. */
function placeInode(inode: Inode, start: number): number {
  const head = headSize(inode);
  const isLink = (inode.mode & S_IFMT) === S_IFLNK;
  const { offset, moved } = layout.placeInode(isLink, start, head, inode.tail);
  if (moved) {
    inode.blocks++;
    inode.tail = 0;
  }
  inode.offset = offset;
  return offset + head + inode.tail;
}

/** Gives every inode its data blocks; returns how many there are. */
function placeBlocks(plan: ImagePlan, firstBlock: number): number {
  let used = 0;
  for (const inode of plan.inodes) {
    if (inode.blocks > 0) inode.blockAddress = firstBlock + used;
    used += inode.blocks;
  }
  return used;
}

function writeHeader(view: DataView, plan: ImagePlan): void {
  const acl = plan.xattrs.has('system.posix_acl_access') || plan.xattrs.has('system.posix_acl_default');
  view.setUint32(layout.HEADER.MAGIC, layout.COMPOSEFS_MAGIC, true);
  view.setUint32(layout.HEADER.VERSION, layout.COMPOSEFS_HEADER_VERSION, true);
  view.setUint32(layout.HEADER.FLAGS, acl ? layout.COMPOSEFS_FLAG_HAS_ACL : 0, true);
  view.setUint32(layout.HEADER.COMPOSEFS_VERSION, plan.version, true);
}

function writeSuperblock(view: DataView, plan: ImagePlan, inodesEnd: number, size: number): void {
  const { SUPER } = layout;
  const rootNid = (plan.inodes[0] as Inode).offset / SLOT_SIZE;
  if (rootNid > layout.MAX_ROOT_NID) {
    throw badInput(
      'tree-root-too-large',
      `cannot write image: the root's inode number ${rootNid} exceeds 16 bits`,
    );
  }
  if (size / BLOCK_SIZE > MAX_U32) {
    throw badInput('tree-too-large', `cannot write image: ${size} bytes are more than EROFS addresses`);
  }
  view.setUint32(SUPER.MAGIC, layout.EROFS_MAGIC, true);
  view.setUint32(SUPER.FEATURE_COMPAT, layout.FEATURE_COMPAT, true);
  view.setUint8(SUPER.BLKSZBITS, layout.BLOCK_SIZE_LOG2);
  view.setUint16(SUPER.ROOT_NID, rootNid, true);
  view.setBigUint64(SUPER.INOS, BigInt(plan.inodes.length), true);
  view.setBigInt64(SUPER.BUILD_TIME, plan.buildTimeSec, true);
  view.setUint32(SUPER.BUILD_TIME_NSEC, plan.buildTimeNsec, true);
  view.setUint32(SUPER.BLOCKS, size / BLOCK_SIZE, true);
  view.setUint32(SUPER.XATTR_BLKADDR, Math.floor(inodesEnd / BLOCK_SIZE), true);
}

function writeInode(out: Uint8Array, view: DataView, inode: Inode, sharedBase: number): void {
  const at = inode.offset;
  const dataLayout = inode.external
    ? layout.LAYOUT_CHUNK_BASED
    : inode.tail > 0
      ? layout.LAYOUT_FLAT_INLINE
      : layout.LAYOUT_FLAT_PLAIN;
  view.setUint16(
    at,
    (dataLayout << layout.FORMAT_LAYOUT_SHIFT) | (inode.extended ? layout.FORMAT_EXTENDED : 0),
    true,
  );
  view.setUint16(at + layout.COMPACT.XATTR_ICOUNT, xattrCount(inode.xattrSize), true);
  view.setUint16(at + layout.COMPACT.MODE, inode.mode & MAX_U16, true);
  view.setUint32(at + layout.COMPACT.U, unionField(inode), true);
  view.setUint32(at + layout.COMPACT.INO, inode.ino, true);
  const size = storedSize(inode);
  const { uid, gid, mtimeSec, mtimeNsec } = inode.node;
  if (inode.extended) {
    view.setUint32(at + layout.EXTENDED.SIZE, size % 2 ** 32, true);
    view.setUint32(at + layout.EXTENDED.SIZE + 4, Math.floor(size / 2 ** 32), true);
    view.setUint32(at + layout.EXTENDED.UID, uid, true);
    view.setUint32(at + layout.EXTENDED.GID, gid, true);
    view.setBigInt64(at + layout.EXTENDED.MTIME, mtimeSec, true);
    view.setUint32(at + layout.EXTENDED.MTIME_NSEC, mtimeNsec, true);
    view.setUint32(at + layout.EXTENDED.NLINK, inode.nlink, true);
  } else {
    view.setUint16(at + layout.COMPACT.NLINK, inode.nlink, true);
    view.setUint32(at + layout.COMPACT.SIZE, size, true);
    view.setUint16(at + layout.COMPACT.UID, uid, true);
    view.setUint16(at + layout.COMPACT.GID, gid, true);
  }
  const xattrs = at + (inode.extended ? layout.INODE_EXTENDED_SIZE : layout.INODE_COMPACT_SIZE);
  writeXattrArea(out, view, xattrs, inode.xattrs, sharedBase);
  writeData(out, view, inode, xattrs + inode.xattrSize);
}

function storedSize(inode: Inode): number {
  const type = inode.mode & S_IFMT;
  return type === S_IFDIR || type === S_IFREG || type === S_IFLNK ? inode.size : 0;
}

/** i_u: device number, chunk format or first data block. libcomposefs lets the last two overlap. */
function unionField(inode: Inode): number {
  const type = inode.mode & S_IFMT;
  if (type === S_IFCHR || type === S_IFBLK) return inode.node.rdev;
  if (!inode.external) return inode.blockAddress;
  const bits = layout.chunkBits(inode.size) - layout.BLOCK_SIZE_LOG2;
  return ((inode.blockAddress & 0xffff0000) | bits) >>> 0;
}

function writeData(out: Uint8Array, view: DataView, inode: Inode, tailStart: number): void {
  const blockStart = inode.blockAddress * BLOCK_SIZE;
  switch (inode.mode & S_IFMT) {
    case S_IFDIR:
      writeDirectory(out, view, inode, tailStart);
      break;
    case S_IFLNK:
      putBytes(out, inode.tail > 0 ? tailStart : blockStart, inode.node.payload ?? ('' as ByteString));
      break;
    case S_IFREG:
      if (inode.external) {
        if (inode.blocks > 0) out.fill(0xff, blockStart, blockStart + BLOCK_SIZE);
        else out.fill(0xff, tailStart, tailStart + inode.tail);
      } else if (inode.content !== undefined) {
        const whole = inode.content.length - inode.tail;
        if (whole > 0) out.set(inode.content.subarray(0, whole), blockStart);
        out.set(inode.content.subarray(whole), tailStart);
      }
      break;
  }
}

/** Splits the entries as measureDirectory() did: full blocks first, the rest behind the inode. */
function writeDirectory(out: Uint8Array, view: DataView, inode: Inode, tailStart: number): void {
  const { entries } = inode;
  let first = 0;
  for (let chunk = 0; first < entries.length; chunk++) {
    let used = 0;
    let end = first;
    for (; end < entries.length; end++) {
      const size = DIRENT_SIZE + (entries[end]?.name.length ?? 0);
      if (used + size > BLOCK_SIZE) break;
      used += size;
    }
    const start = chunk < inode.blocks ? (inode.blockAddress + chunk) * BLOCK_SIZE : tailStart;
    writeDirents(out, view, start, inode, first, end);
    first = end;
  }
}

function writeDirents(
  out: Uint8Array,
  view: DataView,
  start: number,
  dir: Inode,
  first: number,
  end: number,
): void {
  let nameOffset = (end - first) * DIRENT_SIZE;
  let at = start;
  for (let i = first; i < end; i++) {
    const entry = dir.entries[i];
    if (entry === undefined) break;
    const nid = entry.inode.offset / SLOT_SIZE;
    view.setUint32(at + layout.DIRENT.NID, nid % 2 ** 32, true);
    view.setUint32(at + layout.DIRENT.NID + 4, Math.floor(nid / 2 ** 32), true);
    view.setUint16(at + layout.DIRENT.NAMEOFF, nameOffset, true);
    view.setUint8(at + layout.DIRENT.FILE_TYPE, layout.direntType(entry.inode.mode));
    putBytes(out, start + nameOffset, entry.name);
    nameOffset += entry.name.length;
    at += DIRENT_SIZE;
  }
}
