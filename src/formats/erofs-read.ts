/**
 * Reads composefs images and trusts nothing in them. Two gates, one after the other: erofs-image.ts accepts only
 * well-formed EROFS, composefs-gate.ts only what composefs writes. Every reader goes through here.
 */

import { checkComposefs } from './composefs-gate.ts';
import type { ByteString } from './encoding.ts';
import { type Finding, FindingList, REFUSE } from './erofs-findings.ts';
import { ErofsImage } from './erofs-image.ts';
import { nameOf } from './erofs-inode.ts';
import { checkSuperblock } from './erofs-super.ts';
import { NONE } from './erofs-tables.ts';
import { isRealWhiteout, visibleNode } from './erofs-visible.ts';
import { isExternal, S_IFDIR, S_IFMT, type TreeNode } from './tree.ts';

/** An image that both gates have let through. Throws the first violation. */
export function openImage(bytes: Uint8Array): ErofsImage {
  checkSuperblock(viewOf(bytes), REFUSE);
  const image = new ErofsImage(bytes, REFUSE);
  checkComposefs(image);
  return image;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export interface ImageCheck {
  /** All violations, at most `limit` of them: first those of the EROFS, then those of composefs's use of it. */
  readonly findings: readonly Finding[];
  /** How many there are. */
  readonly count: number;
  /** Inodes that could be looked at. */
  readonly inodes: number;
}

/** Everything that `readImage` would refuse the image for. Throws nothing, whatever the bytes are. */
export function checkImage(bytes: Uint8Array, limit: number): ImageCheck {
  const found = new FindingList(limit);
  if (!checkSuperblock(viewOf(bytes), found)) return { findings: found.list, count: found.count, inodes: 0 };
  const image = new ErofsImage(bytes, found);
  if (image.inodes.count > 0) checkComposefs(image);
  return { findings: found.list, count: found.count, inodes: image.inodes.count };
}

/**
 * The tree that a mount of the image shows, in the order of its names; of a file with several names the first one,
 * depth first, is the file and the others are hard links to it. Byte arrays in it are views of `bytes`, or of a copy (see ErofsImage).
 */
export function readImage(bytes: Uint8Array): TreeNode {
  const image = openImage(bytes);
  const node = visibleNode(image, 0);
  readChildren(image, 0, node, []);
  return node;
}

/** `met`: by row, the nodes of the inodes whose first name was seen. */
function readChildren(image: ErofsImage, dir: number, node: TreeNode, met: TreeNode[]): void {
  const { entries, inodes } = image;
  const children = new Map<ByteString, TreeNode>();
  node.children = children;
  const to = inodes.entriesTo[dir] as number;
  for (let entry = inodes.entriesFrom[dir] as number; entry < to; entry++) {
    const row = entries.inode[entry] as number;
    if (row === NONE || isRealWhiteout(image, row)) continue;
    const name = nameOf(image, entry);
    const known = met[row];
    if (known !== undefined) {
      children.set(name, { ...known, hardlink: known });
      continue;
    }
    const child = visibleNode(image, row);
    met[row] = child;
    children.set(name, child);
    if (((inodes.mode[row] as number) & S_IFMT) === S_IFDIR) readChildren(image, row, child, met);
  }
}

/** A backing file that an image refers to. */
export interface ImageObject {
  /** The first name of the file in the image. */
  path: ByteString;
  /** Path of the backing file below the object store. */
  payload: ByteString;
  digest?: ByteString;
  size: number;
}

/** The backing files of an image, once for every file that names one; files without a backing path are left out. */
export function imageObjects(bytes: Uint8Array): ImageObject[] {
  const objects: ImageObject[] = [];
  collectObjects(readImage(bytes), '', objects);
  return objects;
}

function collectObjects(dir: TreeNode, path: string, objects: ImageObject[]): void {
  if (dir.children === undefined) return;
  for (const [name, node] of dir.children) {
    const below = `${path}/${name}` as ByteString;
    if (node.children !== undefined) collectObjects(node, below, objects);
    if (node.hardlink !== undefined || !isExternal(node) || node.payload === undefined) continue;
    const object: ImageObject = { path: below, payload: node.payload, size: node.size };
    if (node.digest !== undefined) object.digest = node.digest;
    objects.push(object);
  }
}
