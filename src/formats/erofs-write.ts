/**
 * Writes composefs images, byte for byte as libcomposefs 1.0.8 does: first every inode gets its place, then
 * everything is written. The image depends on the tree and the version range, on nothing else.
 *
 * Order in the image: composefs header, superblock, inodes (each with its xattrs and tail), shared xattrs, data blocks.
 */

import { type ByteString, putBytes } from './byte-strings.ts';
import { roundUp } from './bytes.ts';
import * as layout from './erofs-layout.ts';
import { type FormatVersion, type ImagePlan, type PlannedEntries, planImage } from './erofs-plan.ts';
import { writeXattrArea, type XattrEntry, xattrAreaSize, xattrCount } from './erofs-xattrs.ts';
import { badInput } from './errors.ts';
import {
  isWhiteout,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type TreeNode,
  type ValidatedTree,
} from './tree.ts';

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
const SLOT_WORDS = SLOT_SIZE / 4;
const MAX_U32 = 0xffffffff;

/** The image of this tree. With the default options it is the one whose digest ostree puts into commits. */
export function writeImage(tree: ValidatedTree, options: ImageOptions = {}): Uint8Array {
  const plan = planImage(tree, options.minVersion ?? 0, options.maxVersion ?? 1);
  return emitImage(plan, layoutImage(plan));
}

/** Where everything goes; the columns by inode number. */
export class ImageLayout {
  /** Where an inode stands, in slots. */
  readonly nid: Uint32Array;
  readonly isExtended: Uint8Array;
  readonly xattrBytes: Uint32Array;
  /** Data behind the inode and its xattrs, and in blocks of its own. */
  readonly tail: Uint16Array;
  readonly blocks: Uint32Array;
  /** The lower 32 bits of i_size. */
  readonly size: Uint32Array;
  /** Where the shared xattrs begin. */
  inodesEnd = 0;
  /** Where the data blocks begin. */
  dataStart = 0;
  /** Of the image. */
  bytes = 0;

  constructor(inodes: number) {
    this.nid = new Uint32Array(inodes);
    this.isExtended = new Uint8Array(inodes);
    this.xattrBytes = new Uint32Array(inodes);
    this.tail = new Uint16Array(inodes);
    this.blocks = new Uint32Array(inodes);
    this.size = new Uint32Array(inodes);
  }
}

/** Gives every inode of the plan its place. */
export function layoutImage(plan: ImagePlan): ImageLayout {
  plan.xattrs.layoutShared();
  const count = plan.inodes.nodes.length;
  const places = new ImageLayout(count);
  let end: number = layout.SUPER.END;
  let blocks = 0;
  for (let ino = 0; ino < count; ino++) {
    // As roundUp(), without a call for each.
    end = placeInode(plan, places, ino, end + (-end & (SLOT_SIZE - 1)));
    blocks += places.blocks[ino] as number;
  }
  places.inodesEnd = roundUp(end, SLOT_SIZE);
  places.dataStart = roundUp(places.inodesEnd + plan.xattrs.sharedSize, BLOCK_SIZE);
  places.bytes = places.dataStart + blocks * BLOCK_SIZE;
  return places;
}

/** The bytes of a plan that has its layout. */
export function emitImage(plan: ImagePlan, places: ImageLayout): Uint8Array {
  const out = new Uint8Array(places.bytes);
  const view = new DataView(out.buffer);
  // In the order of the processor's bytes: little endian wherever this runs.
  const image = { out, view, words: new Int32Array(out.buffer) };
  writeHeader(view, plan);
  writeSuperblock(view, plan, places);
  const count = plan.inodes.nodes.length;
  let block = places.dataStart / BLOCK_SIZE;
  for (let ino = 0; ino < count; ino++) {
    writeFile(image, plan, places, ino, block);
    block += places.blocks[ino] as number;
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

/** `start` is where it goes when nothing behind it crosses a block; returns where it ends. */
function placeInode(plan: ImagePlan, places: ImageLayout, ino: number, start: number): number {
  const { inodes, backing } = plan;
  const node = inodes.nodes[ino] as TreeNode;
  const xattrs = inodes.xattrs[ino] as readonly XattrEntry[];
  const type = (inodes.mode[ino] as number) & S_IFMT;
  const external = inodes.isExternal[ino] === 1;
  const size = external ? node.size : measureData(plan, places, ino, type);
  if (external) places.tail[ino] = layout.CHUNK_INDEX_SIZE * layout.chunkCount(size);
  const isExtended =
    (!plan.hasOneTime && !hasTime(plan, node)) ||
    size > MAX_U32 ||
    (inodes.nlink[ino] as number) > MAX_U16 ||
    node.uid > MAX_U16 ||
    node.gid > MAX_U16;
  const xattrBytes =
    external && backing !== undefined ? backing.areaSize(ino, node, xattrs) : xattrAreaSize(xattrs);
  const head = (isExtended ? layout.INODE_EXTENDED_SIZE : layout.INODE_COMPACT_SIZE) + xattrBytes;
  let tail = places.tail[ino] as number;
  let at = start;
  // Nothing to place, as of most: saves an object for each.
  if (type === S_IFLNK || ((start + head) % BLOCK_SIZE) + tail > BLOCK_SIZE) {
    const { offset, moved } = layout.placeInode(type === S_IFLNK, start, head, tail);
    at = offset;
    if (moved) {
      places.blocks[ino] = (places.blocks[ino] as number) + 1;
      places.tail[ino] = 0;
      tail = 0;
    }
  }
  if (isExtended) places.isExtended[ino] = 1;
  if (type === S_IFREG || type === S_IFDIR || type === S_IFLNK) places.size[ino] = size;
  places.xattrBytes[ino] = xattrBytes;
  places.nid[ino] = at / SLOT_SIZE;
  return at + head + tail;
}

/** Whole blocks and the bytes behind the inode, of what is not external. Returns the size. */
function measureData(plan: ImagePlan, places: ImageLayout, ino: number, type: number): number {
  const node = plan.inodes.nodes[ino] as TreeNode;
  const { content, payload } = node;
  if (type === S_IFDIR) return measureDirectory(plan, places, ino);
  if (type === S_IFLNK) {
    const { length } = payload ?? '';
    places.tail[ino] = length;
    return length;
  }
  if (content !== undefined) {
    const tail = layout.tailOfContent(content.length);
    places.tail[ino] = tail;
    places.blocks[ino] = Math.ceil((content.length - tail) / BLOCK_SIZE);
  }
  // That of a whiteout is 0, whatever its node says.
  return isWhiteout(node) ? 0 : node.size;
}

/** The same; returns the size. */
function measureDirectory({ inodes, entries }: ImagePlan, places: ImageLayout, ino: number): number {
  const { names } = entries;
  const to = inodes.entriesTo[ino] as number;
  let blocks = 0;
  let used = 0;
  for (let i = inodes.entriesFrom[ino] as number; i < to; i++) {
    const size = DIRENT_SIZE + (names[i] as ByteString).length;
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
  places.blocks[ino] = blocks;
  places.tail[ino] = used;
  return blocks * BLOCK_SIZE + used;
}

/** Whether it has the time of the whole image: the only one that a compact inode has. */
function hasTime({ buildTimeSec, buildTimeNsec }: ImagePlan, { mtimeSec, mtimeNsec }: TreeNode): boolean {
  return mtimeSec === buildTimeSec && mtimeNsec === buildTimeNsec;
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

/** An inode, its xattrs and its data. `block`: the first one that it may have. */
function writeFile(image: Image, plan: ImagePlan, places: ImageLayout, ino: number, block: number): void {
  const { inodes, backing } = plan;
  const { out, words } = image;
  const blocks = places.blocks[ino] as number;
  const tail = places.tail[ino] as number;
  const xattrBytes = places.xattrBytes[ino] as number;
  const isExternal = inodes.isExternal[ino] !== 0;
  const node = inodes.nodes[ino] as TreeNode;
  const end = 4 * writeInode(image, plan, places, ino, blocks > 0 ? block : 0);
  if (xattrBytes > 0) {
    const xattrs = inodes.xattrs[ino] as readonly XattrEntry[];
    const sharedBase = places.inodesEnd % BLOCK_SIZE;
    if (!isExternal || backing === undefined) writeXattrArea(out, words, end, xattrs, sharedBase);
    else backing.writeArea(out, words, end, ino, node, xattrs, sharedBase);
  }
  const tailStart = end + xattrBytes;
  // Nearly all files are one chunk: what it takes to call for that is a thirtieth of writing an image under QuickJS.
  if (isExternal && tail === layout.CHUNK_INDEX_SIZE) words[tailStart / 4] = layout.CHUNK_HOLE;
  else if (isExternal) writeChunks(image, tailStart, tail, block);
  else if (blocks + tail > 0) writeData(image, plan, places, ino, tailStart, block);
}

/** `block`: its first one, or 0. Returns the word that its xattrs begin with. */
function writeInode(
  { words, view }: Image,
  { inodes }: ImagePlan,
  places: ImageLayout,
  ino: number,
  block: number,
): number {
  const node = inodes.nodes[ino] as TreeNode;
  const mode = inodes.mode[ino] as number;
  const nlink = inodes.nlink[ino] as number;
  const isExtended = places.isExtended[ino] as number;
  const at = (places.nid[ino] as number) * SLOT_WORDS;
  let form: number = layout.LAYOUT_FLAT_PLAIN;
  let union = block;
  if (inodes.isExternal[ino] !== 0) {
    form = layout.LAYOUT_CHUNK_BASED;
    // libcomposefs lets the chunk format and the first data block overlap.
    union = (block & 0xffff0000) | (layout.chunkBits(node.size) - layout.BLOCK_SIZE_LOG2);
  } else {
    const type = mode & S_IFMT;
    if (places.tail[ino] !== 0) form = layout.LAYOUT_FLAT_INLINE;
    if (type === S_IFCHR || type === S_IFBLK) union = node.rdev;
  }
  words[at] =
    (form << layout.FORMAT_LAYOUT_SHIFT) | isExtended | (xattrCount(places.xattrBytes[ino] as number) << 16);
  words[at + SIZE_WORD] = places.size[ino] as number;
  words[at + UNION_WORD] = union;
  words[at + INO_WORD] = ino;
  if (isExtended === 0) {
    words[at + MODE_WORD] = mode | (nlink << 16);
    words[at + UID_WORD] = node.uid | (node.gid << 16);
    return at + COMPACT_WORDS;
  }
  words[at + MODE_WORD] = mode;
  if ((mode & S_IFMT) === S_IFREG && node.size > MAX_U32) words[at + SIZE_WORD + 1] = node.size / 2 ** 32;
  words[at + UID_WORD] = node.uid;
  words[at + GID_WORD] = node.gid;
  view.setBigInt64(4 * at + layout.EXTENDED.MTIME, node.mtimeSec, true);
  words[at + MTIME_NSEC_WORD] = node.mtimeNsec;
  words[at + NLINK_WORD] = nlink;
  return at + EXTENDED_WORDS;
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
  let nameOffset = (end - first) * DIRENT_SIZE;
  let at = start / 4;
  for (let i = first; i < end; i++) {
    const name = names[i] as ByteString;
    const ino = inodes[i] as number;
    words[at] = nids[ino] as number;
    words[at + 2] = nameOffset | ((layout.DIRENT_TYPES[(modes[ino] as number) >> 12] as number) << 16);
    putBytes(out, start + nameOffset, name);
    nameOffset += name.length;
    at += DIRENT_WORDS;
  }
}
