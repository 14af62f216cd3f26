/**
 * From a tree to the list of inodes that an image holds, in the order in which they are numbered: breadth first,
 * names in byte order. On the way everything that overlayfs needs is added: backing paths and digests, whiteouts as
 * xattrs, the opaque root with its 256 whiteouts that hide the object directories.
 */

import { type ByteString, toByteString } from './encoding.ts';
import { valueSize, type XattrEntry, XattrPool } from './erofs-xattrs.ts';
import { badInput } from './errors.ts';
import * as overlay from './overlay.ts';
import {
  fileType,
  isExternal,
  isWhiteout,
  MAX_XATTR_SPACE,
  resolveHardlink,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type TreeNode,
  type ValidatedTree,
} from './tree.ts';

export type FormatVersion = 0 | 1;

export interface Dirent {
  name: ByteString;
  inode: Inode;
}

export interface Inode {
  readonly node: TreeNode;
  readonly parent: Inode | undefined;
  ino: number;
  mode: number;
  nlink: number;
  /** Decides between compact and extended; of a directory set by the layout. */
  size: number;
  external: boolean;
  content: Uint8Array | undefined;
  xattrs: readonly XattrEntry[];
  /** Of a directory, in name order. */
  entries: readonly Dirent[];
  // Set by the layout:
  extended: boolean;
  xattrSize: number;
  offset: number;
  tail: number;
  blocks: number;
  blockAddress: number;
}

export interface ImagePlan {
  version: FormatVersion;
  inodes: Inode[];
  xattrs: XattrPool;
  buildTimeSec: bigint;
  buildTimeNsec: number;
}

export const SELINUX = 'security.selinux' as ByteString;
const HEX = '0123456789abcdef';
export const WHITEOUT_MODE = S_IFCHR | 0o644;

/** Version 1 exists for whiteouts: it is used when the tree has one and the caller allows it. */
export function chooseVersion(tree: ValidatedTree, min: FormatVersion, max: FormatVersion): FormatVersion {
  return min < max && hasWhiteout(tree) ? max : min;
}

function hasWhiteout(root: TreeNode): boolean {
  const pending: TreeNode[] = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (node.hardlink !== undefined) continue;
    if (isWhiteout(node)) return true;
    if (node.children !== undefined) for (const child of node.children.values()) pending.push(child);
  }
  return false;
}

export function planImage(tree: ValidatedTree, version: FormatVersion): ImagePlan {
  const known = new OverlayXattrs();
  const inodes: Inode[] = [newInode(tree, undefined)];
  const links: Dirent[] = [];
  for (let i = 0; i < inodes.length; i++) {
    const inode = inodes[i] as Inode;
    inode.ino = i;
    if (fileType(inode.node) === S_IFDIR) queueChildren(inode, inodes, links, i === 0);
    inode.xattrs = planXattrs(inode, known, version, i === 0);
  }
  connectLinks(links, inodes);
  const [buildTimeSec, buildTimeNsec] = earliestMtime(inodes);
  return { version, inodes, xattrs: known.pool, buildTimeSec, buildTimeNsec };
}

// Shared by all that have none: tens of thousands of empty arrays cost more time in the collector than the rest.
const NO_XATTRS: readonly XattrEntry[] = [];
const NO_ENTRIES: readonly Dirent[] = [];

/** The stored form of a node, still without number, entries and xattrs. */
export function newInode(node: TreeNode, parent: Inode | undefined): Inode {
  const whiteout = isWhiteout(node);
  return {
    node,
    parent,
    ino: 0,
    mode: whiteout ? (node.mode & ~S_IFMT) | S_IFREG : node.mode,
    nlink: node.nlink,
    size: whiteout ? 0 : (node.mode & S_IFMT) === S_IFLNK ? (node.payload ?? '').length : node.size,
    external: isExternal(node),
    content: node.content,
    xattrs: NO_XATTRS,
    entries: fileType(node) === S_IFDIR ? [] : NO_ENTRIES,
    extended: false,
    xattrSize: 0,
    offset: 0,
    tail: 0,
    blocks: 0,
    blockAddress: 0,
  };
}

function queueChildren(dir: Inode, inodes: Inode[], links: Dirent[], isRoot: boolean): void {
  const children = dir.node.children ?? new Map<ByteString, TreeNode>();
  // Where most names come after them, so that entries that come in order are in order.
  const entries: Dirent[] = [
    { name: DOT, inode: dir },
    { name: DOT_DOT, inode: dir.parent ?? dir },
  ];
  let last = DOT_DOT;
  let isSorted = true;
  children.forEach((child, name) => {
    // Until connectLinks() has seen every inode, the directory itself stands in for the target of a link.
    entries.push({ name, inode: child.hardlink === undefined ? newInode(child, dir) : dir });
    if (name < last) isSorted = false;
    last = name;
  });
  if (isRoot) {
    for (const name of OBJECT_DIR_NAMES)
      if (!children.has(name)) entries.push({ name, inode: rootWhiteout(dir) });
  }
  if (isRoot || !isSorted) entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  let subdirectories = 0;
  for (const entry of entries) {
    const { name, inode } = entry;
    if (inode.parent === dir && inode !== dir) {
      inodes.push(inode);
      if (fileType(inode.node) === S_IFDIR) subdirectories++;
    } else if (name !== DOT && name !== DOT_DOT) {
      links.push(entry);
    }
  }
  dir.entries = entries;
  dir.nlink = 2 + subdirectories;
}

const DOT = '.' as ByteString;
const DOT_DOT = '..' as ByteString;

/** 00..ff, the names that a store of backing files has. */
export const OBJECT_DIR_NAMES: readonly ByteString[] = Array.from(
  { length: 256 },
  (_, i) => (HEX.charAt(i >> 4) + HEX.charAt(i & 15)) as ByteString,
);

/** A real whiteout, never escaped: it hides the backing store's object directories from the mounted root. */
function rootWhiteout(root: Inode): Inode {
  const { uid, gid, mtimeSec, mtimeNsec, xattrs } = root.node;
  const label = xattrs.get(SELINUX);
  const inode = newInode(
    {
      mode: WHITEOUT_MODE,
      uid,
      gid,
      rdev: 0,
      nlink: 1,
      size: 0,
      mtimeSec,
      mtimeNsec,
      xattrs: label === undefined ? new Map() : new Map([[SELINUX, label]]),
    },
    root,
  );
  inode.mode = WHITEOUT_MODE;
  return inode;
}

function connectLinks(links: readonly Dirent[], inodes: readonly Inode[]): void {
  if (links.length === 0) return;
  const byNode = new Map<TreeNode, Inode>();
  for (const inode of inodes) byNode.set(inode.node, inode);
  for (const entry of links) {
    const link = entry.inode.node.children?.get(entry.name);
    const target = link === undefined ? undefined : resolveHardlink(link);
    const inode = target === undefined ? undefined : byNode.get(target);
    if (inode === undefined)
      throw badInput('hardlink-target-missing', 'cannot write image: tree has changed');
    entry.inode = inode;
  }
}

/** The build time: compact inodes have no other. */
export function earliestMtime(inodes: readonly Inode[]): [sec: bigint, nsec: number] {
  let { mtimeSec: sec, mtimeNsec: nsec } = (inodes[0] as Inode).node;
  for (const { node } of inodes) {
    if (node.mtimeSec === sec ? node.mtimeNsec < nsec : node.mtimeSec < sec) {
      sec = node.mtimeSec;
      nsec = node.mtimeNsec;
    }
  }
  return [sec, nsec];
}

/** What an image of many files asks for again and again. */
class OverlayXattrs {
  readonly pool = new XattrPool();
  readonly #noDigest = this.pool.name(overlay.METACOPY);
  readonly #digests = new Map(
    overlay.METACOPY_HEADERS.map(([bytes, header]) => [bytes, this.pool.name(overlay.METACOPY, header)]),
  );
  readonly #redirect = this.pool.name(overlay.REDIRECT, overlay.REDIRECT_LEAD);

  /** Of a file whose bytes are in a backing file, in name order: without a digest overlayfs has nothing to verify. */
  ofExternal({ digest, payload }: TreeNode): XattrEntry[] {
    const name = digest && this.#digests.get(digest.length);
    const metacopy =
      digest && name ? this.pool.useDigest(name, digest) : this.pool.use(this.#noDigest, overlay.EMPTY);
    return payload ? [metacopy, this.pool.use(this.#redirect, payload)] : [metacopy];
  }
}

/** The stored xattrs of an inode, in name order. */
function planXattrs(
  inode: Inode,
  known: OverlayXattrs,
  version: FormatVersion,
  isRoot: boolean,
): XattrEntry[] {
  const { node } = inode;
  const external = inode.external ? known.ofExternal(node) : [];
  if (node.xattrs.size === 0 && inode.external) return external;
  const list = new XattrList(node);
  if (isRoot) list.set(overlay.OPAQUE, overlay.OPAQUE_ROOT);
  for (const entry of external) list.add(entry);
  if (isWhiteout(node) && (inode.mode & S_IFMT) === S_IFREG) {
    list.set(overlay.ESCAPED_WHITEOUT, overlay.EMPTY);
    list.set(overlay.USER_WHITEOUT, overlay.EMPTY);
  }
  if (fileType(node) === S_IFDIR && holdsWhiteout(node)) {
    list.set(overlay.ESCAPED_WHITEOUTS, overlay.EMPTY);
    list.set(overlay.USER_WHITEOUTS, overlay.EMPTY);
    if (version >= 1) {
      list.set(overlay.ESCAPED_OPAQUE, overlay.OPAQUE_WHITEOUTS);
      list.set(overlay.USER_OPAQUE, overlay.OPAQUE_WHITEOUTS);
    }
  }
  return list.entries(known.pool);
}

function holdsWhiteout(directory: TreeNode): boolean {
  if (directory.children === undefined) return false;
  for (const child of directory.children.values()) {
    if (child.hardlink === undefined && isWhiteout(child)) return true;
  }
  return false;
}

/**
 * The xattrs of one node while overlayfs ones are added. libcomposefs accounts for the space from zero here,
 * whatever the node carried before; a node that fails there has to fail here, or digests would differ.
 */
class XattrList {
  readonly #values = new Map<ByteString, ByteString | XattrEntry>();
  #space = 0;

  constructor(node: TreeNode) {
    for (const [key, value] of node.xattrs)
      this.#values.set(overlay.escapeXattrName(key), toByteString(value));
  }

  set(key: ByteString, value: ByteString): void {
    this.#account(key, value.length);
    this.#values.set(key, value);
  }

  /** One that the pool has counted already. */
  add(entry: XattrEntry): void {
    this.#account(entry.name.key, valueSize(entry));
    this.#values.set(entry.name.key, entry);
  }

  #account(key: ByteString, valueBytes: number): void {
    const old = this.#values.get(key);
    let space = this.#space;
    let others = this.#values.size;
    if (old !== undefined) {
      others--;
      const oldBytes = typeof old === 'string' ? old.length : valueSize(old);
      space = others === 0 ? 0 : space - (7 + key.length + oldBytes);
    }
    space += 7 + key.length + valueBytes + (others === 0 ? 12 : 0);
    if (space < 0 || space > MAX_XATTR_SPACE) {
      throw badInput(
        'overlay-xattrs-too-large',
        `cannot write image: no space to set xattr ${key} (${space} bytes)`,
      );
    }
    this.#space = space;
  }

  entries(pool: XattrPool): XattrEntry[] {
    const entries: XattrEntry[] = [];
    for (const key of [...this.#values.keys()].sort()) {
      const value = this.#values.get(key) ?? overlay.EMPTY;
      entries.push(typeof value === 'string' ? pool.use(pool.name(key), value) : value);
    }
    return entries;
  }
}
