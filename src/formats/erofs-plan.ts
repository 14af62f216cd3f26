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
  S_IFMT,
  S_IFREG,
  type TreeNode,
  type ValidatedTree,
} from './tree.ts';

export type FormatVersion = 0 | 1;

/** By inode number. */
export interface PlannedInodes {
  readonly nodes: readonly TreeNode[];
  /** As it is stored: a whiteout is a regular file. */
  readonly mode: Uint16Array;
  readonly nlink: Uint32Array;
  /** 1: its bytes are in a backing file. */
  readonly isExternal: Uint8Array;
  /** In name order; of a file that has its bytes elsewhere without those of overlayfs, which are in the plan's `backing`. */
  readonly xattrs: (readonly XattrEntry[])[];
  /** Of a directory, which of the plan's entries are its own. */
  readonly entriesFrom: Uint32Array;
  readonly entriesTo: Uint32Array;
}

/** Names in directories, "." and ".." among them: of one directory after the other, in name order. */
export interface PlannedEntries {
  readonly names: readonly ByteString[];
  /** Inode numbers. */
  readonly inodes: readonly number[];
}

/** In columns: an object for each inode and name would take twice the time of all else here, most of it in the collector. */
export interface ImagePlan {
  readonly version: FormatVersion;
  readonly inodes: PlannedInodes;
  readonly entries: PlannedEntries;
  readonly xattrs: XattrPool;
  /** Absent when every inode has all of its xattrs itself. */
  readonly backing?: BackingXattrs;
  /** Whether all inodes have the time of the image: comparing big integers takes long. */
  readonly hasOneTime: boolean;
  readonly buildTimeSec: bigint;
  readonly buildTimeNsec: number;
}

export const SELINUX = 'security.selinux' as ByteString;
const HEX = '0123456789abcdef';
export const WHITEOUT_MODE = S_IFCHR | 0o644;

/**
 * Version 1 exists for whiteouts: a tree that has one gets `max`, every other one `min`. A value of `max` below `min`
 * counts as `min`. `pathsHaveDigests`: see ImageOptions.
 */
export function planImage(
  tree: ValidatedTree,
  min: FormatVersion,
  max: FormatVersion = min,
  pathsHaveDigests = false,
): ImagePlan {
  return new Planner(tree, min, max < min ? min : max).plan(pathsHaveDigests);
}

// Shared by all that have none: tens of thousands of empty arrays cost more time in the collector than the rest.
const NO_XATTRS: readonly XattrEntry[] = [];
const DOT = '.' as ByteString;
const DOT_DOT = '..' as ByteString;

interface Directory {
  readonly ino: number;
  /** Its number; of the root its own. */
  readonly parent: number;
  from: number;
  to: number;
  subdirectories: number;
  hasWhiteout: boolean;
}

/** First every inode gets its number, then what is stored of it. */
class Planner {
  readonly #nodes: TreeNode[];
  readonly #names: ByteString[] = [];
  /** Of a hard link, until all inodes are known, -1 - its place in `#links`. */
  readonly #targets: number[] = [];
  readonly #links: TreeNode[] = [];
  /** In the order of their numbers. */
  readonly #directories: Directory[];
  readonly #pool = new XattrPool();
  /** Of the xattrs that many nodes share. */
  readonly #lists = new Map<TreeNode['xattrs'], readonly XattrEntry[]>();
  readonly #max: FormatVersion;
  readonly #rootWhiteout: TreeNode;
  #version: FormatVersion;
  #earliestSec: bigint;
  #earliestNsec: number;
  #hasOneTime = true;
  // The directory whose children are queued. One function for all of them: a closure for each is slower.
  #directory: Directory;
  #last = DOT_DOT;
  #isSorted = true;

  constructor(tree: ValidatedTree, min: FormatVersion, max: FormatVersion) {
    this.#version = min;
    this.#max = max;
    this.#earliestSec = tree.mtimeSec;
    this.#earliestNsec = tree.mtimeNsec;
    this.#nodes = [tree];
    this.#directory = newDirectory(0, 0);
    this.#directories = [this.#directory];
    this.#rootWhiteout = rootWhiteout(tree);
  }

  plan(pathsHaveDigests: boolean): ImagePlan {
    for (let i = 0; i < this.#directories.length; i++) this.#queueChildren(this.#directories[i] as Directory);
    this.#connectLinks();
    const inodes = this.#storedInodes();
    const backing = new BackingXattrs(this.#pool, this.#nodes, inodes.isExternal, pathsHaveDigests);
    return {
      version: this.#version,
      inodes,
      entries: { names: this.#names, inodes: this.#targets },
      xattrs: this.#pool,
      backing,
      hasOneTime: this.#hasOneTime,
      // Compact inodes have no other.
      buildTimeSec: this.#earliestSec,
      buildTimeNsec: this.#earliestNsec,
    };
  }

  #queueChildren(directory: Directory): void {
    const { ino, parent } = directory;
    const nodes = this.#nodes;
    const first = nodes.length;
    directory.from = this.#names.length;
    this.#directory = directory;
    // Before most names, so that children that come in order are in order.
    this.#names.push(DOT, DOT_DOT);
    this.#targets.push(ino, parent);
    this.#last = DOT_DOT;
    this.#isSorted = true;
    const { children } = nodes[ino] as TreeNode;
    children?.forEach(this.#queueChild, this);
    if (ino === 0) this.#queueRootWhiteouts(children);
    if (!this.#isSorted) this.#sortEntries(directory.from, first);
    directory.to = this.#names.length;
    for (let i = first; i < nodes.length; i++) {
      if (((nodes[i] as TreeNode).mode & S_IFMT) !== S_IFDIR) continue;
      directory.subdirectories++;
      this.#directories.push(newDirectory(i, ino));
    }
  }

  #queueChild(child: TreeNode, name: ByteString): void {
    if (name < this.#last) this.#isSorted = false;
    this.#last = name;
    const names = this.#names;
    const targets = this.#targets;
    const nodes = this.#nodes;
    // Not by push(), which is a call for each.
    names[names.length] = name;
    if (child.hardlink !== undefined) {
      targets[targets.length] = -1 - this.#links.length;
      this.#links.push(child);
      return;
    }
    targets[targets.length] = nodes.length;
    nodes[nodes.length] = child;
    if ((child.mode & S_IFMT) === S_IFCHR && isWhiteout(child)) {
      this.#directory.hasWhiteout = true;
      this.#version = this.#max;
    }
  }

  /** Of the entries from `from` on, whose inodes are those from `first` on. */
  #sortEntries(from: number, first: number): void {
    const names = this.#names.slice(from);
    const targets = this.#targets.slice(from);
    const nodes = this.#nodes.slice(first);
    const order = names.map((_, i) => i);
    order.sort((a, b) => ((names[a] as ByteString) < (names[b] as ByteString) ? -1 : 1));
    let ino = first;
    let entry = from;
    for (const i of order) {
      const target = targets[i] as number;
      this.#names[entry] = names[i] as ByteString;
      this.#targets[entry] = target < first ? target : ino;
      if (target >= first) this.#nodes[ino++] = nodes[target - first] as TreeNode;
      entry++;
    }
  }

  #queueRootWhiteouts(children: TreeNode['children']): void {
    this.#isSorted = false;
    for (const name of OBJECT_DIR_NAMES) {
      if (children?.has(name)) continue;
      this.#names.push(name);
      this.#targets.push(this.#nodes.length);
      this.#nodes.push(this.#rootWhiteout);
    }
  }

  #connectLinks(): void {
    if (this.#links.length === 0) return;
    const targets = this.#targets;
    for (let ino = 0; ino < this.#nodes.length; ino++) (this.#nodes[ino] as TreeNode).index = ino;
    for (let i = 0; i < targets.length; i++) {
      const code = targets[i] as number;
      if (code >= 0) continue;
      const node = resolveHardlink(this.#links[-1 - code] as TreeNode);
      const ino = node?.index ?? 0;
      if (node === undefined || this.#nodes[ino] !== node) {
        throw badInput('hardlink-target-missing', 'cannot write image: tree has changed');
      }
      targets[i] = ino;
    }
  }

  /** One loop without a call for each inode: those would be a twentieth of an image where no engine compiles. */
  #storedInodes(): PlannedInodes {
    const nodes = this.#nodes;
    const count = nodes.length;
    const mode = new Uint16Array(count);
    const nlink = new Uint32Array(count);
    const external = new Uint8Array(count);
    const xattrs: (readonly XattrEntry[])[] = [];
    const entriesFrom = new Uint32Array(count);
    const entriesTo = new Uint32Array(count);
    const rootWhiteout = this.#rootWhiteout;
    const directories = this.#directories;
    let next = 0;
    for (let ino = 0; ino < count; ino++) {
      const node = nodes[ino] as TreeNode;
      const type = node.mode & S_IFMT;
      mode[ino] = node.mode;
      nlink[ino] = node.nlink;
      let hasMarks = ino === 0;
      let directory: Directory | undefined;
      if (type === S_IFDIR) {
        directory = directories[next++] as Directory;
        nlink[ino] = 2 + directory.subdirectories;
        entriesFrom[ino] = directory.from;
        entriesTo[ino] = directory.to;
        hasMarks ||= directory.hasWhiteout;
      } else if (type === S_IFCHR && isWhiteout(node) && node !== rootWhiteout) {
        mode[ino] = (node.mode & ~S_IFMT) | S_IFREG;
        hasMarks = true;
      } else if (isExternal(node)) {
        external[ino] = 1;
      }
      if (node.mtimeSec !== this.#earliestSec || node.mtimeNsec !== this.#earliestNsec) this.#noteTime(node);
      if (hasMarks) xattrs[ino] = this.#markedXattrs(node, ino, directory);
      else xattrs[ino] = node.xattrs === NO_NODE_XATTRS ? NO_XATTRS : this.#xattrsOf(node);
    }
    return { nodes, mode, nlink, isExternal: external, xattrs, entriesFrom, entriesTo };
  }

  #noteTime({ mtimeSec, mtimeNsec }: TreeNode): void {
    this.#hasOneTime = false;
    if (mtimeSec === this.#earliestSec ? mtimeNsec > this.#earliestNsec : mtimeSec > this.#earliestSec)
      return;
    this.#earliestSec = mtimeSec;
    this.#earliestNsec = mtimeNsec;
  }

  /** Those that the node itself carries. */
  #xattrsOf({ xattrs }: TreeNode): readonly XattrEntry[] {
    if (xattrs.size === 0) return NO_XATTRS;
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

  /** Of the root, of whiteouts and of what holds them: the xattrs of overlayfs come to those of the node. */
  #markedXattrs(node: TreeNode, ino: number, directory: Directory | undefined): XattrEntry[] {
    const list = new XattrList(node);
    if (ino === 0) list.set(overlay.OPAQUE, overlay.OPAQUE_ROOT);
    if (directory === undefined) {
      list.set(overlay.ESCAPED_WHITEOUT, overlay.EMPTY);
      list.set(overlay.USER_WHITEOUT, overlay.EMPTY);
    } else if (directory.hasWhiteout) {
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

function newDirectory(ino: number, parent: number): Directory {
  return { ino, parent, from: 0, to: 0, subdirectories: 0, hasWhiteout: false };
}

/** A real one, never escaped: those of the root hide the backing store's object directories from the mounted root. */
function rootWhiteout(root: TreeNode): TreeNode {
  const { uid, gid, mtimeSec, mtimeNsec, xattrs } = root;
  const label = xattrs.get(SELINUX);
  return newNode({
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
