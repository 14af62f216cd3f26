/**
 * Where everything of an image goes: of each inode its place, what stands behind it, and how many blocks it has besides.
 * As libcomposefs 1.0.8 does it.
 */

import type { ByteString } from './byte-strings.ts';
import { roundUp } from './bytes.ts';
import * as layout from './erofs-layout.ts';
import type { ImagePlan } from './erofs-plan.ts';
import { type XattrEntry, xattrAreaSize } from './erofs-xattrs.ts';
import { isWhiteout, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type TreeNode } from './tree.ts';

const { BLOCK_SIZE, SLOT_SIZE, DIRENT_SIZE } = layout;
const MAX_U16 = 0xffff;
const MAX_U32 = 0xffffffff;

/** By inode number. */
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

/**
 * Gives every inode of the plan its place. What an engine that does not compile spends most on are calls and looking for
 * properties: here, and in emitImage(), what nearly all inodes need is done in one loop, over columns that are at hand.
 */
export function layoutImage(plan: ImagePlan): ImageLayout {
  plan.xattrs.layoutShared();
  const { backing, hasOneTime } = plan;
  const { nodes, nlink, isExternal, xattrs } = plan.inodes;
  const count = nodes.length;
  const places = new ImageLayout(count);
  const { nid, isExtended, xattrBytes, tail, blocks, size } = places;
  let end: number = layout.SUPER.END;
  let dataBlocks = 0;
  for (let ino = 0; ino < count; ino++) {
    const node = nodes[ino] as TreeNode;
    const list = xattrs[ino] as readonly XattrEntry[];
    let bytes = node.size;
    let area = 0;
    if (isExternal[ino] === 1) {
      size[ino] = bytes;
      tail[ino] = layout.CHUNK_INDEX_SIZE * layout.chunkCount(bytes);
      area = backing !== undefined ? backing.areaSize(ino, node, list) : xattrAreaSize(list);
    } else {
      bytes = measureData(plan, places, ino);
      if (list.length > 0) area = xattrAreaSize(list);
    }
    let head = layout.INODE_COMPACT_SIZE + area;
    if (
      (!hasOneTime && !hasTime(plan, node)) ||
      bytes > MAX_U32 ||
      (nlink[ino] as number) > MAX_U16 ||
      node.uid > MAX_U16 ||
      node.gid > MAX_U16
    ) {
      isExtended[ino] = 1;
      head = layout.INODE_EXTENDED_SIZE + area;
    }
    // As roundUp().
    let at = end + (-end & (SLOT_SIZE - 1));
    let behind = tail[ino] as number;
    const isLink = (node.mode & S_IFMT) === S_IFLNK;
    // Otherwise it stands where it begins.
    if (isLink || ((at + head) % BLOCK_SIZE) + behind > BLOCK_SIZE) {
      const place = layout.placeInode(isLink, at, head, behind);
      at = place.offset;
      if (place.moved) {
        blocks[ino] = (blocks[ino] as number) + 1;
        tail[ino] = 0;
        behind = 0;
      }
    }
    xattrBytes[ino] = area;
    nid[ino] = at / SLOT_SIZE;
    dataBlocks += blocks[ino] as number;
    end = at + head + behind;
  }
  places.inodesEnd = roundUp(end, SLOT_SIZE);
  places.dataStart = roundUp(places.inodesEnd + plan.xattrs.sharedSize, BLOCK_SIZE);
  places.bytes = places.dataStart + dataBlocks * BLOCK_SIZE;
  return places;
}

/** Size, whole blocks and the bytes behind the inode, of what is not external. Returns the size. */
function measureData(plan: ImagePlan, places: ImageLayout, ino: number): number {
  const node = plan.inodes.nodes[ino] as TreeNode;
  const { content, payload } = node;
  switch (node.mode & S_IFMT) {
    case S_IFDIR:
      return measureDirectory(plan, places, ino);
    case S_IFLNK: {
      const { length } = payload ?? '';
      places.size[ino] = length;
      places.tail[ino] = length;
      return length;
    }
    case S_IFREG:
      places.size[ino] = node.size;
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
  const bytes = blocks * BLOCK_SIZE + used;
  places.size[ino] = bytes;
  places.blocks[ino] = blocks;
  places.tail[ino] = used;
  return bytes;
}

/** Whether it has the time of the whole image: the only one that a compact inode has. */
function hasTime({ buildTimeSec, buildTimeNsec }: ImagePlan, { mtimeSec, mtimeNsec }: TreeNode): boolean {
  return mtimeSec === buildTimeSec && mtimeNsec === buildTimeNsec;
}
