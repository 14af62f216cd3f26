/**
 * Writes composefs images, byte for byte as libcomposefs 1.0.8 does: first every inode gets its place, then
 * everything is written. The image depends on the tree and the version range, on nothing else.
 *
 * Order in the image: composefs header, superblock, inodes (each with its xattrs and tail), shared xattrs, data blocks.
 */

import { type ByteString, putBytes } from './byte-strings.ts';
import { roundUp } from './bytes.ts';
import * as layout from './erofs-layout.ts';
import { type Dirent, type FormatVersion, type ImagePlan, type Inode, planImage } from './erofs-plan.ts';
import { writeXattrArea, xattrAreaSize, xattrCount } from './erofs-xattrs.ts';
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

/** Numbers of 32-bit words; what is smaller is written together with its neighbour. */
const COMPACT_WORDS = layout.INODE_COMPACT_SIZE / 4;
const EXTENDED_WORDS = layout.INODE_EXTENDED_SIZE / 4;
const MODE_WORD = layout.COMPACT.MODE / 4;
const SIZE_WORD = layout.COMPACT.SIZE / 4;
const UNION_WORD = layout.COMPACT.U / 4;
const INO_WORD = layout.COMPACT.INO / 4;
const UID_WORD = layout.COMPACT.UID / 4;
const GID_WORD = layout.EXTENDED.GID / 4;
const MTIME_NSEC_WORD = layout.EXTENDED.MTIME_NSEC / 4;
const NLINK_WORD = layout.EXTENDED.NLINK / 4;
const DIRENT_WORDS = layout.DIRENT_SIZE / 4;
const MAX_U32 = 0xffffffff;

/** The image of this tree. With the default options it is the one whose digest ostree puts into commits. */
export function writeImage(tree: ValidatedTree, options: ImageOptions = {}): Uint8Array {
  const plan = planImage(tree, options.minVersion ?? 0, options.maxVersion ?? 1);
  return emitImage(plan, layoutImage(plan));
}

export interface ImageLayout {
  /** Where the shared xattrs begin. */
  inodesEnd: number;
  /** Where the data blocks begin. */
  dataStart: number;
  size: number;
}

/** Gives every inode of the plan its place. */
export function layoutImage(plan: ImagePlan): ImageLayout {
  plan.xattrs.layoutShared();
  let end: number = layout.SUPER.END;
  let blocks = 0;
  for (const inode of plan.inodes) {
    end = placeInode(inode, plan, roundUp(end, SLOT_SIZE));
    blocks += inode.blocks;
  }
  const inodesEnd = roundUp(end, SLOT_SIZE);
  const dataStart = roundUp(inodesEnd + plan.xattrs.sharedSize, BLOCK_SIZE);
  return { inodesEnd, dataStart, size: dataStart + blocks * BLOCK_SIZE };
}

/** The bytes of a plan that has its layout. */
export function emitImage(plan: ImagePlan, { inodesEnd, dataStart, size }: ImageLayout): Uint8Array {
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  // In the order of the processor's bytes: little endian wherever this runs.
  const words = new Int32Array(out.buffer);
  writeHeader(view, plan);
  writeSuperblock(view, plan, inodesEnd, size);
  const { backing } = plan;
  const sharedBase = inodesEnd % BLOCK_SIZE;
  let block = dataStart / BLOCK_SIZE;
  for (const inode of plan.inodes) {
    const end = 4 * writeInode(words, view, inode, inode.blocks > 0 ? block : 0);
    if (inode.external && backing !== undefined) backing.writeArea(out, words, end, inode, sharedBase);
    else if (inode.xattrSize > 0) writeXattrArea(out, words, end, inode.xattrs, sharedBase);
    if (inode.tail + inode.blocks > 0) writeData(out, words, inode, end + inode.xattrSize, block);
    block += inode.blocks;
  }
  plan.xattrs.writeShared(out, inodesEnd);
  return out;
}

/** `start` is where it goes when nothing behind it crosses a block; returns where it ends. */
function placeInode(inode: Inode, plan: ImagePlan, start: number): number {
  measure(inode);
  const type = inode.mode & S_IFMT;
  inode.extended = needsExtended(inode, plan);
  const { backing } = plan;
  inode.xattrSize =
    inode.external && backing !== undefined ? backing.areaSize(inode) : xattrAreaSize(inode.xattrs);
  const head = (inode.extended ? layout.INODE_EXTENDED_SIZE : layout.INODE_COMPACT_SIZE) + inode.xattrSize;
  inode.offset = start;
  // Nothing to place, as of most: saves an object for each.
  if (type === S_IFLNK || ((start + head) % BLOCK_SIZE) + inode.tail > BLOCK_SIZE) {
    const { offset, moved } = layout.placeInode(type === S_IFLNK, start, head, inode.tail);
    inode.offset = offset;
    if (moved) {
      inode.blocks++;
      inode.tail = 0;
    }
  }
  return inode.offset + head + inode.tail;
}

/** Whole blocks and the bytes behind the inode. */
function measure(inode: Inode): void {
  const { content } = inode.node;
  if (inode.external) {
    inode.tail = layout.CHUNK_INDEX_SIZE * layout.chunkCount(inode.size);
  } else if (inode.entries.length > 0) {
    measureDirectory(inode);
  } else if ((inode.mode & S_IFMT) === S_IFLNK) {
    inode.tail = inode.size;
  } else if (content !== undefined) {
    inode.tail = layout.tailOfContent(content.length);
    inode.blocks = Math.ceil((content.length - inode.tail) / BLOCK_SIZE);
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

/** `block`: its first one. Returns the word that its xattrs begin with. */
function writeInode(words: Int32Array, view: DataView, inode: Inode, block: number): number {
  const { node, mode, extended } = inode;
  const type = mode & S_IFMT;
  const form = inode.external
    ? layout.LAYOUT_CHUNK_BASED
    : inode.tail > 0
      ? layout.LAYOUT_FLAT_INLINE
      : layout.LAYOUT_FLAT_PLAIN;
  const format = (form << layout.FORMAT_LAYOUT_SHIFT) | (extended ? layout.FORMAT_EXTENDED : 0);
  const at = inode.offset / 4;
  words[at] = format | (xattrCount(inode.xattrSize) << 16);
  words[at + UNION_WORD] = unionField(inode, block);
  words[at + INO_WORD] = inode.ino;
  const size = type === S_IFDIR || type === S_IFREG || type === S_IFLNK ? inode.size : 0;
  words[at + SIZE_WORD] = size;
  if (!extended) {
    words[at + MODE_WORD] = (mode & MAX_U16) | (inode.nlink << 16);
    words[at + UID_WORD] = node.uid | (node.gid << 16);
    return at + COMPACT_WORDS;
  }
  words[at + MODE_WORD] = mode & MAX_U16;
  if (size > MAX_U32) words[at + SIZE_WORD + 1] = size / 2 ** 32;
  words[at + UID_WORD] = node.uid;
  words[at + GID_WORD] = node.gid;
  view.setBigInt64(inode.offset + layout.EXTENDED.MTIME, node.mtimeSec, true);
  words[at + MTIME_NSEC_WORD] = node.mtimeNsec;
  words[at + NLINK_WORD] = inode.nlink;
  return at + EXTENDED_WORDS;
}

/** i_u: device number, chunk format or first data block. libcomposefs lets the last two overlap. */
function unionField(inode: Inode, block: number): number {
  if (inode.external) return (block & 0xffff0000) | (layout.chunkBits(inode.size) - layout.BLOCK_SIZE_LOG2);
  const type = inode.mode & S_IFMT;
  return type === S_IFCHR || type === S_IFBLK ? inode.node.rdev : block;
}

function writeData(out: Uint8Array, words: Int32Array, inode: Inode, tailStart: number, block: number): void {
  const { tail, node } = inode;
  const blockStart = block * BLOCK_SIZE;
  if (inode.external) {
    if (inode.blocks > 0) out.fill(0xff, blockStart, blockStart + BLOCK_SIZE);
    else for (let at = tailStart; at < tailStart + tail; at += 4) words[at / 4] = layout.CHUNK_HOLE;
  } else if (inode.entries.length > 0) {
    writeDirectory(out, words, inode, tailStart, block);
  } else if (node.content !== undefined) {
    const whole = node.content.length - tail;
    if (whole > 0) out.set(node.content.subarray(0, whole), blockStart);
    out.set(whole > 0 ? node.content.subarray(whole) : node.content, tailStart);
  } else {
    putBytes(out, tail > 0 ? tailStart : blockStart, node.payload ?? ('' as ByteString));
  }
}

/** Splits the entries as measureDirectory() did: full blocks first, the rest behind the inode. */
function writeDirectory(
  out: Uint8Array,
  words: Int32Array,
  { entries, blocks }: Inode,
  tailStart: number,
  block: number,
): void {
  let first = 0;
  let used = 0;
  let chunk = 0;
  const place = () => (chunk < blocks ? (block + chunk) * BLOCK_SIZE : tailStart);
  for (let i = 0; i < entries.length; i++) {
    const size = DIRENT_SIZE + (entries[i] as Dirent).name.length;
    if (used + size > BLOCK_SIZE) {
      writeDirents(out, words, place(), entries, first, i);
      first = i;
      used = 0;
      chunk++;
    }
    used += size;
  }
  writeDirents(out, words, place(), entries, first, entries.length);
}

function writeDirents(
  out: Uint8Array,
  words: Int32Array,
  start: number,
  entries: readonly Dirent[],
  first: number,
  end: number,
): void {
  let nameOffset = (end - first) * DIRENT_SIZE;
  let at = start / 4;
  for (let i = first; i < end; i++) {
    const { name, inode } = entries[i] as Dirent;
    const nid = inode.offset / SLOT_SIZE;
    words[at] = nid;
    if (nid > MAX_U32) words[at + 1] = nid / 2 ** 32;
    words[at + 2] = nameOffset | (layout.direntType(inode.mode) << 16);
    putBytes(out, start + nameOffset, name);
    nameOffset += name.length;
    at += DIRENT_WORDS;
  }
}
