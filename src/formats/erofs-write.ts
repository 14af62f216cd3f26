/**
 * Writes composefs images, byte for byte as libcomposefs 1.0.8 does: first every inode gets its place (erofs-places.ts), then
 * everything is written. The image depends on the tree and the version range, on nothing else.
 *
 * Order in the image: composefs header, superblock, inodes (each with its xattrs and tail), shared xattrs, data blocks.
 */

import { type ByteString, putBytes } from './byte-strings.ts';
import * as layout from './erofs-layout.ts';
import { type ImageLayout, layoutImage } from './erofs-places.ts';
import {
  type FormatVersion,
  type ImagePlan,
  type PlannedEntries,
  type PlannedInodes,
  planImage,
} from './erofs-plan.ts';
import { writeXattrArea, type XattrEntry } from './erofs-xattrs.ts';
import { badInput } from './errors.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG, type TreeNode, type ValidatedTree } from './tree.ts';

export interface ImageOptions {
  /** Default 0. */
  minVersion?: FormatVersion;
  /** Used when the tree needs it; default 1. A value below `minVersion` counts as `minVersion`. */
  maxVersion?: FormatVersion;
  /** Files with the same backing path have the same digest, as those of a commit: then fewer paths have to be compared. */
  pathsHaveDigests?: boolean;
}

const { BLOCK_SIZE, SLOT_SIZE, DIRENT_SIZE } = layout;

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
const SLOT_WORDS = SLOT_SIZE / 4;
const MAX_U32 = 0xffffffff;

/** The image of this tree. With the default options it is the one whose digest ostree puts into commits. */
export function writeImage(tree: ValidatedTree, options: ImageOptions = {}): Uint8Array {
  const { minVersion = 0, maxVersion = 1, pathsHaveDigests = false } = options;
  const plan = planImage(tree, minVersion, maxVersion, pathsHaveDigests);
  return emitImage(plan, layoutImage(plan));
}

/** The bytes of a plan that has its layout. */
export function emitImage(plan: ImagePlan, places: ImageLayout): Uint8Array {
  const out = new Uint8Array(places.bytes);
  const view = new DataView(out.buffer);
  // In the order of the processor's bytes: little endian wherever this runs.
  const words = new Int32Array(out.buffer);
  const image = { out, view, words };
  writeHeader(view, plan);
  writeSuperblock(view, plan, places);
  const { backing } = plan;
  const { nodes, mode, nlink, isExternal, xattrs } = plan.inodes;
  const { nid, isExtended, xattrBytes, tail, blocks, size } = places;
  const sharedBase = places.inodesEnd % BLOCK_SIZE;
  const count = nodes.length;
  let block = places.dataStart / BLOCK_SIZE;
  for (let ino = 0; ino < count; ino++) {
    const node = nodes[ino] as TreeNode;
    const stored = mode[ino] as number;
    const external = isExternal[ino] === 1;
    const behind = tail[ino] as number;
    const own = blocks[ino] as number;
    const area = xattrBytes[ino] as number;
    const at = (nid[ino] as number) * SLOT_WORDS;
    let form: number = behind !== 0 ? layout.LAYOUT_FLAT_INLINE : layout.LAYOUT_FLAT_PLAIN;
    let union = own > 0 ? block : 0;
    if (external) {
      form = layout.LAYOUT_CHUNK_BASED;
      // libcomposefs lets the chunk format and the first data block overlap.
      union = (union & 0xffff0000) | (layout.chunkBits(node.size) - layout.BLOCK_SIZE_LOG2);
    } else {
      const type = stored & S_IFMT;
      if (type === S_IFCHR || type === S_IFBLK) union = node.rdev;
    }
    const extended = isExtended[ino] as number;
    // i_xattr_icount.
    const xattrWords = area > 0 ? (area - layout.XATTR_HEADER_SIZE) / 4 + 1 : 0;
    words[at] = (form << layout.FORMAT_LAYOUT_SHIFT) | extended | (xattrWords << 16);
    words[at + SIZE_WORD] = size[ino] as number;
    words[at + UNION_WORD] = union;
    words[at + INO_WORD] = ino;
    let start = 4 * (at + COMPACT_WORDS);
    if (extended === 0) {
      words[at + MODE_WORD] = stored | ((nlink[ino] as number) << 16);
      words[at + UID_WORD] = node.uid | (node.gid << 16);
    } else {
      writeExtended(image, plan.inodes, ino, at);
      start = 4 * (at + EXTENDED_WORDS);
    }
    if (area > 0) {
      const list = xattrs[ino] as readonly XattrEntry[];
      if (external && backing !== undefined) {
        backing.writeArea(out, words, start, ino, node, list, sharedBase);
      } else {
        writeXattrArea(out, words, start, list, sharedBase);
      }
    }
    // Nearly all files are one chunk.
    if (external && behind === layout.CHUNK_INDEX_SIZE) words[(start + area) / 4] = layout.CHUNK_HOLE;
    else if (external) writeChunks(image, start + area, behind, block);
    else if (own + behind > 0) writeData(image, plan, places, ino, start + area, block);
    block += own;
  }
  plan.xattrs.writeShared(out, places.inodesEnd);
  return out;
}

/** The same memory three times. */
interface Image {
  readonly out: Uint8Array;
  readonly view: DataView;
  readonly words: Int32Array;
}

function writeHeader(view: DataView, plan: ImagePlan): void {
  const acl = plan.xattrs.has('system.posix_acl_access') || plan.xattrs.has('system.posix_acl_default');
  view.setUint32(layout.HEADER.MAGIC, layout.COMPOSEFS_MAGIC, true);
  view.setUint32(layout.HEADER.VERSION, layout.COMPOSEFS_HEADER_VERSION, true);
  view.setUint32(layout.HEADER.FLAGS, acl ? layout.COMPOSEFS_FLAG_HAS_ACL : 0, true);
  view.setUint32(layout.HEADER.COMPOSEFS_VERSION, plan.version, true);
}

function writeSuperblock(view: DataView, plan: ImagePlan, { nid, inodesEnd, bytes }: ImageLayout): void {
  const { SUPER } = layout;
  const rootNid = nid[0] as number;
  if (rootNid > layout.MAX_ROOT_NID) {
    throw badInput(
      'tree-root-too-large',
      `cannot write image: the root's inode number ${rootNid} exceeds 16 bits`,
    );
  }
  if (bytes / BLOCK_SIZE > MAX_U32) {
    throw badInput('tree-too-large', `cannot write image: ${bytes} bytes are more than EROFS addresses`);
  }
  view.setUint32(SUPER.MAGIC, layout.EROFS_MAGIC, true);
  view.setUint32(SUPER.FEATURE_COMPAT, layout.FEATURE_COMPAT, true);
  view.setUint8(SUPER.BLKSZBITS, layout.BLOCK_SIZE_LOG2);
  view.setUint16(SUPER.ROOT_NID, rootNid, true);
  view.setBigUint64(SUPER.INOS, BigInt(plan.inodes.nodes.length), true);
  view.setBigInt64(SUPER.BUILD_TIME, plan.buildTimeSec, true);
  view.setUint32(SUPER.BUILD_TIME_NSEC, plan.buildTimeNsec, true);
  view.setUint32(SUPER.BLOCKS, bytes / BLOCK_SIZE, true);
  view.setUint32(SUPER.XATTR_BLKADDR, Math.floor(inodesEnd / BLOCK_SIZE), true);
}

/** What an extended inode at this word has of its own. */
function writeExtended(
  { words, view }: Image,
  { nodes, mode, nlink }: PlannedInodes,
  ino: number,
  at: number,
): void {
  const node = nodes[ino] as TreeNode;
  const stored = mode[ino] as number;
  words[at + MODE_WORD] = stored;
  if ((stored & S_IFMT) === S_IFREG && node.size > MAX_U32) words[at + SIZE_WORD + 1] = node.size / 2 ** 32;
  words[at + UID_WORD] = node.uid;
  words[at + GID_WORD] = node.gid;
  view.setBigInt64(4 * at + layout.EXTENDED.MTIME, node.mtimeSec, true);
  words[at + MTIME_NSEC_WORD] = node.mtimeNsec;
  words[at + NLINK_WORD] = nlink[ino] as number;
}

/** The list of chunks of an external file: holes. */
function writeChunks({ out, words }: Image, tailStart: number, tail: number, block: number): void {
  if (tail === 0) out.fill(0xff, block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE);
  else for (let at = tailStart; at < tailStart + tail; at += 4) words[at / 4] = layout.CHUNK_HOLE;
}

function writeData(
  image: Image,
  plan: ImagePlan,
  places: ImageLayout,
  ino: number,
  tailStart: number,
  block: number,
): void {
  const { out } = image;
  const node = plan.inodes.nodes[ino] as TreeNode;
  const tail = places.tail[ino] as number;
  const blockStart = block * BLOCK_SIZE;
  if (((plan.inodes.mode[ino] as number) & S_IFMT) === S_IFDIR) {
    writeDirectory(image, plan, places, ino, tailStart, block);
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
  image: Image,
  { inodes, entries }: ImagePlan,
  places: ImageLayout,
  ino: number,
  tailStart: number,
  block: number,
): void {
  const blocks = places.blocks[ino] as number;
  const to = inodes.entriesTo[ino] as number;
  let first = inodes.entriesFrom[ino] as number;
  let used = 0;
  let chunk = 0;
  // Most have nothing to split.
  if (blocks === 0) {
    writeDirents(image, entries, inodes.mode, places.nid, tailStart, first, to);
    return;
  }
  const write = (end: number) => {
    const start = chunk < blocks ? (block + chunk) * BLOCK_SIZE : tailStart;
    writeDirents(image, entries, inodes.mode, places.nid, start, first, end);
  };
  for (let i = first; i < to; i++) {
    const size = DIRENT_SIZE + (entries.names[i] as ByteString).length;
    if (used + size > BLOCK_SIZE) {
      write(i);
      first = i;
      used = 0;
      chunk++;
    }
    used += size;
  }
  write(to);
}

/** Those from `first` to `end`, as one chunk from `start` on. */
function writeDirents(
  { out, words }: Image,
  { names, inodes }: PlannedEntries,
  modes: Uint16Array,
  nids: Uint32Array,
  start: number,
  first: number,
  end: number,
): void {
  const table = (end - first) * DIRENT_SIZE;
  let nameOffset = table;
  let at = start / 4;
  let text = '';
  for (let i = first; i < end; i++) {
    const ino = inodes[i] as number;
    words[at] = nids[ino] as number;
    words[at + 2] = nameOffset | ((layout.DIRENT_TYPES[(modes[ino] as number) >> 12] as number) << 16);
    const name = names[i] as ByteString;
    text += name;
    nameOffset += name.length;
    at += DIRENT_WORDS;
  }
  putBytes(out, start + table, text as ByteString);
}
