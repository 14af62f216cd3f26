/**
 * Reads composefs images and trusts nothing in them. Two gates: erofs-image.ts accepts only well-formed EROFS, and
 * here an image must be what composefs writes. The second gate ends with writing the image again from what was
 * understood: every byte, padding and order included, has to come out the same.
 */

import { atOffset } from './bytes.ts';
import { type ByteString, printable, toByteString } from './encoding.ts';
import { ErofsImage, malformed, type RawInode } from './erofs-image.ts';
import {
  COMPOSEFS_HEADER_VERSION,
  COMPOSEFS_MAGIC,
  direntType,
  HEADER,
  LAYOUT_CHUNK_BASED,
  MAX_FORMAT_VERSION,
} from './erofs-layout.ts';
import {
  type Dirent,
  earliestMtime,
  type FormatVersion,
  type Inode,
  newInode,
  OBJECT_DIR_NAMES,
} from './erofs-plan.ts';
import { requireRootWhiteout, visibleNode } from './erofs-visible.ts';
import { emitImage, layoutImage } from './erofs-write.ts';
import { XattrPool } from './erofs-xattrs.ts';
import { badInput } from './errors.ts';
import { isExternal, MAX_DEPTH, S_IFCHR, S_IFDIR, S_IFMT, type TreeNode } from './tree.ts';

interface Reading {
  image: ErofsImage;
  pool: XattrPool;
  inodes: Map<number, Inode>;
  /** Inodes with more than one name. */
  shared: Set<Inode>;
}

/**
 * The tree that a mount of the image shows, in the order of its names; of a file with several names the first one
 * is the file and the others are hard links to it. Byte arrays in it are views of `bytes`.
 */
export function readImage(bytes: Uint8Array): TreeNode {
  const image = new ErofsImage(bytes);
  const version = readHeader(image);
  const reading: Reading = { image, pool: new XattrPool(), inodes: new Map(), shared: new Set() };
  const raw = image.inode(image.rootNid, 0);
  if ((raw.mode & S_IFMT) !== S_IFDIR) {
    throw malformed('erofs-root-invalid', raw.offset, 'the root is not a directory');
  }
  const root = readInode(reading, raw, undefined);
  readDirectory(reading, raw, root, 0, '');
  image.requireNoOverlap();
  requireCanonical(reading, version, bytes);
  return root.node;
}

function readHeader({ reader }: ErofsImage): FormatVersion {
  if (reader.u32(HEADER.MAGIC) !== COMPOSEFS_MAGIC) {
    throw malformed('composefs-magic-invalid', HEADER.MAGIC, 'no composefs magic');
  }
  const headerVersion = reader.u32(HEADER.VERSION);
  const version = reader.u32(HEADER.COMPOSEFS_VERSION);
  if (headerVersion !== COMPOSEFS_HEADER_VERSION || version > MAX_FORMAT_VERSION) {
    const fact = `header version ${headerVersion} or format version ${version} is not known`;
    throw malformed('composefs-version-unknown', HEADER.VERSION, fact);
  }
  return version as FormatVersion;
}

/** The stored inode for the final comparison and, as its node, what a mount shows of it. */
function readInode(reading: Reading, raw: RawInode, parent: Inode | undefined): Inode {
  const { image, pool } = reading;
  const xattrs = image.xattrs(raw);
  const node = visibleNode(image, raw, xattrs, parent === undefined);
  const inode = newInode(node, parent);
  inode.mode = raw.mode;
  inode.nlink = raw.nlink;
  inode.external = raw.layout === LAYOUT_CHUNK_BASED;
  inode.size = raw.size;
  inode.offset = raw.offset;
  inode.xattrs = xattrs
    .map(({ key, value }) => pool.use(key, toByteString(value)))
    .sort((a, b) => (a.name.key < b.name.key ? -1 : 1));
  reading.inodes.set(raw.nid, inode);
  return inode;
}

function readDirectory(reading: Reading, raw: RawInode, dir: Inode, depth: number, path: string): void {
  if (depth > MAX_DEPTH)
    throw malformed('erofs-too-deep', raw.offset, `more than ${MAX_DEPTH} levels of directories`);
  const { image } = reading;
  const children = new Map<ByteString, TreeNode>();
  const entries: Dirent[] = [];
  let dots = 0;
  let subdirectories = 0;
  for (const { name, nid, fileType: type } of image.dirents(raw)) {
    if (name === '.' || name === '..') {
      dots++;
      const expected = name === '.' ? dir : (dir.parent ?? dir);
      if (reading.inodes.get(nid) !== expected || type !== direntType(S_IFDIR)) {
        throw malformed(
          'erofs-dot-invalid',
          raw.offset,
          `"${printable(`${path}/${name}`)}" is another directory`,
        );
      }
      entries.push({ name, inode: expected });
      continue;
    }
    const childRaw = image.inode(nid, raw.offset);
    if (direntType(childRaw.mode) !== type) {
      const fact = `"${printable(`${path}/${name}`)}" has type ${type} in the directory and mode 0o${childRaw.mode.toString(8)}`;
      throw malformed('erofs-file-type-mismatch', childRaw.offset, fact);
    }
    const known = reading.inodes.get(nid);
    const child = known ?? readInode(reading, childRaw, dir);
    entries.push({ name, inode: child });
    if ((childRaw.mode & S_IFMT) === S_IFDIR) {
      if (known !== undefined) {
        throw malformed(
          'erofs-directory-repeated',
          childRaw.offset,
          `"${printable(`${path}/${name}`)}" is another directory, too`,
        );
      }
      subdirectories++;
      children.set(name, child.node);
      readDirectory(reading, childRaw, child, depth + 1, `${path}/${name}`);
    } else if ((childRaw.mode & S_IFMT) === S_IFCHR && childRaw.union === 0) {
      requireRootWhiteout(raw.offset, dir, child, name, known !== undefined);
    } else {
      if (known !== undefined) reading.shared.add(known);
      children.set(name, known === undefined ? child.node : hardlinkTo(known.node));
    }
  }
  dir.entries = entries;
  if (dots !== 2) throw malformed('erofs-dot-invalid', raw.offset, `"${printable(path)}/" lacks "." or ".."`);
  if (raw.nlink !== 2 + subdirectories) {
    const fact = `"${printable(path)}/" has link count ${raw.nlink}, expected ${2 + subdirectories},`;
    throw malformed('composefs-nlink-mismatch', raw.offset, fact);
  }
  if (dir.parent === undefined) requireAllRootWhiteouts(dir);
  dir.node.children = children;
}

function hardlinkTo(target: TreeNode): TreeNode {
  return { ...target, hardlink: target };
}

function requireAllRootWhiteouts(root: Inode): void {
  const names = new Set(root.entries.map(({ name }) => name));
  for (const name of OBJECT_DIR_NAMES) {
    if (!names.has(name)) {
      throw malformed(
        'composefs-root-whiteout-missing',
        root.offset,
        `the root does not hide the name ${name}`,
      );
    }
  }
}

/** Writes the image again and compares. */
function requireCanonical(reading: Reading, version: FormatVersion, bytes: Uint8Array): void {
  const inodes = [...reading.inodes.values()].sort((a, b) => a.offset - b.offset);
  for (let i = 0; i < inodes.length; i++) (inodes[i] as Inode).ino = i;
  requireBreadthFirst(reading, inodes);
  const [buildTimeSec, buildTimeNsec] = earliestMtime(inodes);
  const plan = { version, inodes, xattrs: reading.pool, buildTimeSec, buildTimeNsec };
  const layout = layoutImage(plan);
  if (layout.size !== bytes.length) {
    const fact = `cannot read image: it has ${bytes.length} bytes, composefs would write ${layout.size}`;
    throw badInput('composefs-not-canonical', fact);
  }
  const written = emitImage(plan, layout);
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== written[i]) {
      const fact = `byte ${bytes[i]} ${atOffset(i)}, composefs would write ${written[i]}`;
      throw badInput('composefs-not-canonical', `cannot read image: ${fact}`);
    }
  }
}

/** Inodes stand in the order in which their names are met; one with several names may stand at any of them. */
function requireBreadthFirst(reading: Reading, inodes: readonly Inode[]): void {
  let last = -1;
  for (const dir of inodes) {
    for (const { name, inode } of dir.entries) {
      if (name === '.' || name === '..' || reading.shared.has(inode)) continue;
      if (inode.ino <= last) {
        throw malformed(
          'composefs-order-invalid',
          inode.offset,
          `"${printable(name)}" is not in breadth-first order`,
        );
      }
      last = inode.ino;
    }
  }
}

/** A backing file that an image refers to. */
export interface ImageObject {
  /** The first name of the file in the image. */
  path: ByteString;
  /** Path of the backing file below the object store. */
  payload: ByteString;
  digest?: Uint8Array;
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
