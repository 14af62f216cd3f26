/**
 * From a tree to the list of inodes that an image holds, in the order in which they are numbered: breadth first,
 * names in byte order. On the way everything that overlayfs needs is added: backing paths and digests, whiteouts as
 * xattrs, the opaque root with its 256 whiteouts that hide the object directories.
 */

import { type ByteString, toByteString } from './encoding.ts';
import { BackingXattrs } from './erofs-backing-xattrs.ts';
import { byName, type XattrEntry, XattrPool } from './erofs-xattrs.ts';
import { badInput } from './errors.ts';
import * as overlay from './overlay.ts';
import {
  isExternal,
  isWhiteout,
  MAX_XATTR_SPACE,
  NO_XATTRS as NO_NODE_XATTRS,
  newNode,
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
  readonly name: ByteString;
  inode: Inode;
}

/** Its own entry in the directory that has its first name. */
export interface Inode extends Dirent {
  readonly node: TreeNode;
  readonly parent: Inode | undefined;
  ino: number;
  mode: number;
  nlink: number;
  /** Decides between compact and extended; of a directory set by the layout. */
  size: number;
  external: boolean;
  /** In name order; of an external one without those of overlayfs, which are in the plan's `backing`. */
  xattrs: readonly XattrEntry[];
  /** If several have it. */
  metacopy: XattrEntry | undefined;
  redirect: XattrEntry | undefined;
  /** Of a directory, in name order. */
  entries: readonly Dirent[];
  // Set by the layout:
  extended: boolean;
  xattrSize: number;
  offset: number;
  tail: number;
  blocks: number;
}

export interface ImagePlan {
  version: FormatVersion;
  inodes: Inode[];
  xattrs: XattrPool;
  /** Absent when every inode has all of its xattrs itself. */
  backing?: BackingXattrs;
  buildTimeSec: bigint;
  buildTimeNsec: number;
}

export const SELINUX = 'security.selinux' as ByteString;
const HEX = '0123456789abcdef';
export const WHITEOUT_MODE = S_IFCHR | 0o644;

/**
 * Version 1 exists for whiteouts: a tree that has one gets `max`, every other one `min`. A value of `max` below `min`
 * counts as `min`.
 */
export function planImage(tree: ValidatedTree, min: FormatVersion, max: FormatVersion = min): ImagePlan {
  return new Planner(tree, min, max < min ? min : max).plan();
}

// Shared by all that have none: tens of thousands of empty arrays cost more time in the collector than the rest.
const NO_XATTRS: readonly XattrEntry[] = [];
const NO_ENTRIES: readonly Dirent[] = [];
const DOT = '.' as ByteString;
const DOT_DOT = '..' as ByteString;

/** The stored form of a node, still without number, entries and xattrs. */
export function newInode(node: TreeNode, parent: Inode | undefined, name = '' as ByteString): Inode {
  return new PlannedInode(node, parent, name);
}

/** A class, so that it is its own entry from the beginning: changing that field would make engines compile anew. */
class PlannedInode implements Inode {
  declare readonly name: ByteString;
  declare inode: Inode;
  declare readonly node: TreeNode;
  declare readonly parent: Inode | undefined;
  declare ino: number;
  declare mode: number;
  declare nlink: number;
  declare size: number;
  declare external: boolean;
  declare xattrs: readonly XattrEntry[];
  declare metacopy: XattrEntry | undefined;
  declare redirect: XattrEntry | undefined;
  declare entries: readonly Dirent[];
  declare extended: boolean;
  declare xattrSize: number;
  declare offset: number;
  declare tail: number;
  declare blocks: number;

  constructor(node: TreeNode, parent: Inode | undefined, name: ByteString) {
    const { mode } = node;
    const type = mode & S_IFMT;
    const whiteout = type === S_IFCHR && node.rdev === 0;
    this.name = name;
    this.inode = this;
    this.node = node;
    this.parent = parent;
    this.ino = 0;
    this.mode = whiteout ? (mode & ~S_IFMT) | S_IFREG : mode;
    this.nlink = node.nlink;
    this.size = whiteout ? 0 : type === S_IFLNK ? (node.payload ?? '').length : node.size;
    this.external = type === S_IFREG && isExternal(node);
    this.xattrs = NO_XATTRS;
    this.metacopy = undefined;
    this.redirect = undefined;
    this.entries = NO_ENTRIES;
    this.extended = false;
    this.xattrSize = 0;
    this.offset = 0;
    this.tail = 0;
    this.blocks = 0;
  }
}

/** Its fields and one function are what all directories share: a closure for each of them is slower. */
class Planner {
  readonly #inodes: Inode[];
  readonly #links: { readonly entry: Dirent; readonly node: TreeNode }[] = [];
  readonly #files: Inode[] = [];
  readonly #pool = new XattrPool();
  /** Of the xattrs that many nodes share. */
  readonly #lists = new Map<TreeNode['xattrs'], readonly XattrEntry[]>();
  readonly #max: FormatVersion;
  #version: FormatVersion;
  // The directory whose children are queued.
  #directory: Inode;
  #entries: Dirent[] = [];
  #last = DOT_DOT;
  #isSorted = true;
  #subdirectories = 0;
  #hasWhiteout = false;

  constructor(tree: ValidatedTree, min: FormatVersion, max: FormatVersion) {
    this.#version = min;
    this.#max = max;
    this.#directory = newInode(tree, undefined);
    this.#inodes = [this.#directory];
  }

  plan(): ImagePlan {
    const inodes = this.#inodes;
    let { mtimeSec, mtimeNsec } = this.#directory.node;
    for (let i = 0; i < inodes.length; i++) {
      const inode = inodes[i] as Inode;
      inode.ino = i;
      this.#planInode(inode, i === 0);
      const { node } = inode;
      if (node.mtimeSec === mtimeSec ? node.mtimeNsec < mtimeNsec : node.mtimeSec < mtimeSec) {
        mtimeSec = node.mtimeSec;
        mtimeNsec = node.mtimeNsec;
      }
    }
    this.#connectLinks();
    const backing = new BackingXattrs(this.#pool);
    backing.share(this.#files);
    return {
      version: this.#version,
      inodes,
      xattrs: this.#pool,
      backing,
      // Compact inodes have no other.
      buildTimeSec: mtimeSec,
      buildTimeNsec: mtimeNsec,
    };
  }

  #planInode(inode: Inode, isRoot: boolean): void {
    const { node } = inode;
    node.index = inode.ino;
    const isDirectory = (node.mode & S_IFMT) === S_IFDIR;
    if (isDirectory) this.#queueChildren(inode, isRoot);
    if (isRoot || (isDirectory && this.#hasWhiteout) || inode.mode !== node.mode) {
      inode.xattrs = this.#markedXattrs(inode, isRoot);
    } else {
      if (node.xattrs.size > 0) inode.xattrs = this.#xattrsOf(node);
      if (inode.external) this.#files.push(inode);
    }
  }

  /** Those that the node itself carries. */
  #xattrsOf({ xattrs }: TreeNode): readonly XattrEntry[] {
    const pool = this.#pool;
    let list = this.#lists.get(xattrs);
    if (list !== undefined) {
      for (const entry of list) pool.useAgain(entry);
      return list;
    }
    list = [...xattrs]
      .map(([key, value]) => pool.use(pool.name(overlay.escapeXattrName(key)), toByteString(value)))
      .sort(byName);
    this.#lists.set(xattrs, list);
    return list;
  }

  #queueChildren(dir: Inode, isRoot: boolean): void {
    // Before most names, so that children that come in order are in order.
    const entries: Dirent[] = [
      { name: DOT, inode: dir },
      { name: DOT_DOT, inode: dir.parent ?? dir },
    ];
    const first = this.#inodes.length;
    this.#directory = dir;
    this.#entries = entries;
    this.#last = DOT_DOT;
    this.#isSorted = true;
    this.#subdirectories = 0;
    this.#hasWhiteout = false;
    dir.node.children?.forEach(this.#queueChild, this);
    if (isRoot) this.#queueRootWhiteouts(dir);
    if (!this.#isSorted) {
      entries.sort((a, b) => (a.name < b.name ? -1 : 1));
      this.#inodes.length = first;
      for (const entry of entries) if (entry.inode === entry) this.#inodes.push(entry.inode);
    }
    dir.entries = entries;
    dir.nlink = 2 + this.#subdirectories;
  }

  #queueChild(child: TreeNode, name: ByteString): void {
    if (name < this.#last) this.#isSorted = false;
    this.#last = name;
    if (child.hardlink !== undefined) {
      // Until all inodes are known, the directory itself stands in for the target.
      const entry: Dirent = { name, inode: this.#directory };
      this.#entries.push(entry);
      this.#links.push({ entry, node: child });
      return;
    }
    const inode = newInode(child, this.#directory, name);
    this.#entries.push(inode);
    this.#inodes.push(inode);
    if ((child.mode & S_IFMT) === S_IFDIR) this.#subdirectories++;
    else if (inode.mode !== child.mode) this.#noteWhiteout();
  }

  #noteWhiteout(): void {
    this.#hasWhiteout = true;
    this.#version = this.#max;
  }

  /** Real whiteouts, never escaped: they hide the backing store's object directories from the mounted root. */
  #queueRootWhiteouts(root: Inode): void {
    const { uid, gid, mtimeSec, mtimeNsec, xattrs, children } = root.node;
    const label = xattrs.get(SELINUX);
    const node = newNode({
      mode: WHITEOUT_MODE,
      uid,
      gid,
      rdev: 0,
      nlink: 1,
      size: 0,
      mtimeSec,
      mtimeNsec,
      xattrs: label === undefined ? NO_NODE_XATTRS : new Map([[SELINUX, label]]),
    });
    this.#isSorted = false;
    for (const name of OBJECT_DIR_NAMES) {
      if (children?.has(name)) continue;
      const inode = newInode(node, root, name);
      inode.mode = WHITEOUT_MODE;
      this.#entries.push(inode);
    }
  }

  #connectLinks(): void {
    for (const { entry, node } of this.#links) {
      const target = resolveHardlink(node);
      const inode = target && this.#inodes[target.index ?? 0];
      if (inode === undefined || inode.node !== target) {
        throw badInput('hardlink-target-missing', 'cannot write image: tree has changed');
      }
      entry.inode = inode;
    }
  }

  /** Of the root, of whiteouts and of what holds them: the xattrs of overlayfs come to those of the node. */
  #markedXattrs(inode: Inode, isRoot: boolean): XattrEntry[] {
    const { node } = inode;
    const list = new XattrList(node);
    if (isRoot) list.set(overlay.OPAQUE, overlay.OPAQUE_ROOT);
    if (isWhiteout(node) && (inode.mode & S_IFMT) === S_IFREG) {
      list.set(overlay.ESCAPED_WHITEOUT, overlay.EMPTY);
      list.set(overlay.USER_WHITEOUT, overlay.EMPTY);
    }
    if (inode.entries !== NO_ENTRIES && this.#hasWhiteout) {
      list.set(overlay.ESCAPED_WHITEOUTS, overlay.EMPTY);
      list.set(overlay.USER_WHITEOUTS, overlay.EMPTY);
      if (this.#version >= 1) {
        list.set(overlay.ESCAPED_OPAQUE, overlay.OPAQUE_WHITEOUTS);
        list.set(overlay.USER_OPAQUE, overlay.OPAQUE_WHITEOUTS);
      }
    }
    return list.entries(this.#pool);
  }
}

/** 00..ff, the names that a store of backing files has. */
export const OBJECT_DIR_NAMES: readonly ByteString[] = Array.from(
  { length: 256 },
  (_, i) => (HEX.charAt(i >> 4) + HEX.charAt(i & 15)) as ByteString,
);

/**
 * The xattrs of one node while overlayfs ones are added. libcomposefs accounts for the space from zero here,
 * whatever the node carried before; a node that fails there has to fail here, or digests would differ.
 */
class XattrList {
  readonly #values = new Map<ByteString, ByteString>();
  #space = 0;

  constructor(node: TreeNode) {
    for (const [key, value] of node.xattrs)
      this.#values.set(overlay.escapeXattrName(key), toByteString(value));
  }

  set(key: ByteString, value: ByteString): void {
    const old = this.#values.get(key);
    let space = this.#space;
    let others = this.#values.size;
    if (old !== undefined) {
      others--;
      space = others === 0 ? 0 : space - (7 + key.length + old.length);
    }
    space += 7 + key.length + value.length + (others === 0 ? 12 : 0);
    if (space < 0 || space > MAX_XATTR_SPACE) {
      throw badInput(
        'overlay-xattrs-too-large',
        `cannot write image: no space to set xattr ${key} (${space} bytes)`,
      );
    }
    this.#space = space;
    this.#values.set(key, value);
  }

  entries(pool: XattrPool): XattrEntry[] {
    return [...this.#values.keys()]
      .sort()
      .map((key) => pool.use(pool.name(key), this.#values.get(key) ?? overlay.EMPTY));
  }
}
