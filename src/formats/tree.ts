/**
 * The file tree that an image is made of, and the check that every writer demands.
 *
 * A tree knows nothing of EROFS or overlayfs: whiteouts are plain CHR 0:0 nodes, xattrs have their visible names.
 * `validateTree` guarantees that the writer cannot fail on, or silently change, what it is given.
 */

import { type ByteString, printable } from './encoding.ts';
import { badInput, type SealrootError } from './errors.ts';
import { algorithmOfDigest } from './fsverity.ts';

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

export interface TreeNode {
  mode: number;
  uid: number;
  gid: number;
  /** glibc's dev_t, low 32 bits; BLK and CHR only. */
  rdev: number;
  /** Of a directory it is computed by the writer. */
  nlink: number;
  /** Bytes of a REG, target length of a LNK; of a directory read from an image its EROFS size. */
  size: number;
  mtimeSec: bigint;
  mtimeNsec: number;
  /** Backing path of a REG, target of a LNK. */
  payload?: ByteString | undefined;
  /** Inline content of a REG, never empty. */
  content?: Uint8Array | undefined;
  /** fs-verity digest of the backing file: 32 bytes (SHA-256) or 64 (SHA-512). As an array it would take four times the memory. */
  digest?: ByteString | undefined;
  /** Nodes may share one. */
  xattrs: ReadonlyMap<ByteString, Uint8Array>;
  /** Directories only. */
  children?: Map<ByteString, TreeNode> | undefined;
  /** This name is another link to that node (which may itself be a link); of this node only the name counts. */
  hardlink?: TreeNode | undefined;
  /**
   * Where the last one who numbered a tree's nodes put this one; of no meaning to others. Only the list that has the
   * node at this place was made by that one. A Map of nodes takes ten times as long.
   */
  index?: number | undefined;
}

/** For a node without. */
export const NO_XATTRS: TreeNode['xattrs'] = new Map();

/** What newNode() reads: an object of this is one that many nodes can be made of. */
export type NodeHead = Pick<
  TreeNode,
  'mode' | 'uid' | 'gid' | 'rdev' | 'nlink' | 'size' | 'mtimeSec' | 'mtimeNsec' | 'xattrs'
>;

/**
 * A node without content, target and children, which the caller adds. Every node of a tree is made here, or every one by
 * ownedNode(), with its fields in one order: engines make one shape of that, and all that walks a tree is several times
 * faster.
 */
export function newNode(head: NodeHead): TreeNode {
  return {
    mode: head.mode,
    uid: head.uid,
    gid: head.gid,
    rdev: head.rdev,
    nlink: head.nlink,
    size: head.size,
    mtimeSec: head.mtimeSec,
    mtimeNsec: head.mtimeNsec,
    payload: undefined,
    content: undefined,
    digest: undefined,
    xattrs: head.xattrs,
    children: undefined,
    hardlink: undefined,
    index: undefined,
  };
}

/** The same for a tree whose nodes have one name and the time 0, and never content: without fields for what they have not. */
export function ownedNode(owner: Pick<TreeNode, 'mode' | 'uid' | 'gid' | 'xattrs'>, size: number): TreeNode {
  return {
    mode: owner.mode,
    uid: owner.uid,
    gid: owner.gid,
    rdev: 0,
    nlink: 1,
    size,
    mtimeSec: 0n,
    mtimeNsec: 0,
    payload: undefined,
    digest: undefined,
    xattrs: owner.xattrs,
    children: undefined,
  };
}

declare const validated: unique symbol;
export type ValidatedTree = TreeNode & { readonly [validated]: true };

export const MAX_NAME_BYTES = 255;
/** PATH_MAX without its NUL: backing paths and link targets. */
export const MAX_PAYLOAD_BYTES = 4095;
export const MAX_CONTENT_BYTES = 5000;
export const MAX_FILE_BYTES = 2 ** 53;
export const MAX_XATTR_VALUE_BYTES = 65535;
/** What libcomposefs lets one node carry, counted as 12 + sum(7 + name + value). */
export const MAX_XATTR_SPACE = 32767;
/** More components than PATH_MAX can name. */
export const MAX_DEPTH = 2048;

const MIN_I64 = -(2n ** 63n);
const MAX_I64 = 2n ** 63n - 1n;

export function fileType(node: TreeNode): number {
  return node.mode & S_IFMT;
}

/** CHR 0:0, which overlayfs takes for a deleted name. */
export function isWhiteout(node: TreeNode): boolean {
  return (node.mode & S_IFMT) === S_IFCHR && node.rdev === 0;
}

/** A REG whose bytes lie in a backing file. */
export function isExternal(node: TreeNode): boolean {
  return (node.mode & S_IFMT) === S_IFREG && node.size > 0 && node.content === undefined;
}

/** A component that Linux can store: 1..255 bytes, no slash or NUL, not "." or "..". */
export function isValidName(name: string): boolean {
  return (
    name.length > 0 &&
    name.length <= MAX_NAME_BYTES &&
    name !== '.' &&
    name !== '..' &&
    !name.includes('/') &&
    !name.includes('\0')
  );
}

/** The end of a chain of hard links; undefined when the chain runs in a circle. */
export function resolveHardlink(node: TreeNode): TreeNode | undefined {
  let end = node;
  let slow = node;
  for (let steps = 1; end.hardlink !== undefined; steps++) {
    end = end.hardlink;
    if (steps % 2 === 0 && slow.hardlink !== undefined) slow = slow.hardlink;
    if (end === slow) return undefined;
  }
  return end;
}

/** The nodes of a tree, breadth first; `at` is the one that is looked at. */
interface Place {
  at: number;
  readonly nodes: TreeNode[];
  /** The last ones that were in order: most nodes share them, and comparing big integers takes long. */
  mtimeSec: bigint;
  xattrs: TreeNode['xattrs'];
}

/** Looked for when a message needs it: hardly any tree has an error, and names for all nodes are many. */
function pathOf(place: Place): string {
  const nodes = place.nodes.slice(0, 1);
  const paths = [''];
  for (let at = 0; nodes.length <= place.at && at < nodes.length; at++) {
    const { children, hardlink } = nodes[at] as TreeNode;
    if (hardlink !== undefined || children === undefined) continue;
    for (const [name, child] of children) {
      nodes.push(child);
      paths.push(`${paths[at]}/${name}`);
    }
  }
  return `"/${printable((paths[place.at] ?? '').slice(1))}"`;
}

function invalid(code: string, place: Place, fact: string): SealrootError {
  return badInput(code, `cannot use tree: ${pathOf(place)} ${fact}`);
}

/**
 * Checks everything that the image format cannot hold. The tree is not copied: who changes it afterwards has to
 * validate it again. Hard links to directories, which libcomposefs lets through, are refused.
 */
export function validateTree(root: TreeNode): ValidatedTree {
  const nodes = [root];
  const place: Place = { at: 0, nodes, mtimeSec: 0n, xattrs: NO_XATTRS };
  if (fileType(root) !== S_IFDIR || root.hardlink !== undefined) {
    throw invalid('tree-root-not-directory', place, 'is not a directory');
  }
  const links: number[] = [];
  let depth = 0;
  let nextLevel = 1;
  for (let at = 0; at < nodes.length; at++) {
    const node = nodes[at] as TreeNode;
    place.at = at;
    if (at === nextLevel) {
      depth++;
      nextLevel = nodes.length;
    }
    const before = node.index ?? 0;
    if (before !== at && nodes[before] === node) {
      throw invalid('tree-node-repeated', place, 'is the same node as another name');
    }
    node.index = at;
    if (node.hardlink !== undefined) {
      links.push(at);
      continue;
    }
    checkNode(place, node);
    if (node.children !== undefined) queueNames(place, node.children, depth + 1);
  }
  for (const at of links) {
    place.at = at;
    checkLink(place, nodes[at] as TreeNode);
  }
  return root as ValidatedTree;
}

function queueNames(place: Place, children: ReadonlyMap<ByteString, TreeNode>, depth: number): void {
  if (depth > MAX_DEPTH) throw invalid('tree-too-deep', place, `is deeper than ${MAX_DEPTH} levels`);
  const { nodes } = place;
  children.forEach((child, name) => {
    nodes.push(child);
    if (isValidName(name)) return;
    place.at = nodes.length - 1;
    throw invalid('tree-name-invalid', place, 'is not a file name');
  });
}

function checkLink(place: Place, node: TreeNode): void {
  if (node.children !== undefined) {
    throw invalid('tree-children-not-directory', place, 'is a hard link and has children');
  }
  const target = resolveHardlink(node);
  if (target === undefined) throw invalid('hardlink-loop', place, 'is a hard link in a circle of hard links');
  if (place.nodes[target.index ?? 0] !== target)
    throw invalid('hardlink-target-missing', place, 'is a hard link to a node outside the tree');
  if (fileType(target) === S_IFDIR)
    throw invalid('hardlink-to-directory', place, 'is a hard link to a directory');
}

function checkNode(place: Place, node: TreeNode): void {
  checkNumbers(place, node);
  const type = node.mode & S_IFMT;
  switch (type) {
    case S_IFREG:
      checkFile(place, node);
      break;
    case S_IFLNK:
      checkTarget(place, node);
      break;
    case S_IFDIR:
    case S_IFBLK:
    case S_IFCHR:
    case S_IFIFO:
    case S_IFSOCK:
      break;
    default:
      throw invalid('tree-type-invalid', place, `has the unknown file type 0o${type.toString(8)}`);
  }
  if (node.children !== undefined && type !== S_IFDIR) {
    throw invalid('tree-children-not-directory', place, 'is not a directory and has children');
  }
  if (node.content !== undefined && type !== S_IFREG) {
    throw invalid('tree-content-invalid', place, 'is not a regular file and has content');
  }
  if (node.xattrs !== place.xattrs) checkXattrs(place, node);
}

/** In one expression: before an engine has compiled it, a call for each number takes as long as all else here. */
function checkNumbers(place: Place, node: TreeNode): void {
  const { mode, uid, gid, rdev, nlink, mtimeNsec, mtimeSec, size } = node;
  if (
    mode >>> 0 !== mode ||
    uid >>> 0 !== uid ||
    gid >>> 0 !== gid ||
    rdev >>> 0 !== rdev ||
    nlink >>> 0 !== nlink ||
    mtimeNsec >>> 0 !== mtimeNsec
  ) {
    throw invalid(
      'tree-number-invalid',
      place,
      `has a value outside 0..2^32-1: mode ${mode} uid ${uid} gid ${gid} rdev ${rdev} nlink ${nlink} nsec ${mtimeNsec}`,
    );
  }
  if (mtimeSec !== place.mtimeSec) {
    if (mtimeSec < MIN_I64 || mtimeSec > MAX_I64) {
      throw invalid('tree-number-invalid', place, `has the mtime ${mtimeSec}, beyond 64 bits`);
    }
    place.mtimeSec = mtimeSec;
  }
  if (size >>> 0 !== size && (!Number.isInteger(size) || size < 0)) {
    throw invalid('tree-number-invalid', place, `has size ${size}`);
  }
}

function checkFile(place: Place, node: TreeNode): void {
  const { size, content, payload, digest } = node;
  if (size > MAX_FILE_BYTES) {
    throw invalid('tree-file-too-large', place, `has ${size} bytes, more than ${MAX_FILE_BYTES}`);
  }
  if (content !== undefined) {
    if (content.length === 0 || content.length > MAX_CONTENT_BYTES || content.length !== size) {
      const fact = `has ${content.length} bytes of inline content and size ${size}, allowed are 1..${MAX_CONTENT_BYTES}`;
      throw invalid('tree-content-invalid', place, fact);
    }
  }
  if (payload !== undefined && (payload.length > MAX_PAYLOAD_BYTES || payload.includes('\0'))) {
    throw invalid(
      'tree-payload-invalid',
      place,
      `has a backing path with NUL or over ${MAX_PAYLOAD_BYTES} bytes`,
    );
  }
  if (digest !== undefined && algorithmOfDigest(digest) === undefined) {
    throw invalid('tree-digest-invalid', place, `has a digest of ${digest.length} bytes, expected 32 or 64`);
  }
}

/** Of a symbolic link. */
export function isValidTarget(target: string): boolean {
  return target.length > 0 && target.length <= MAX_PAYLOAD_BYTES && !target.includes('\0');
}

function checkTarget(place: Place, node: TreeNode): void {
  const target = node.payload ?? '';
  if (isValidTarget(target)) return;
  const fact = `has a link target of ${target.length} bytes; allowed are 1..${MAX_PAYLOAD_BYTES} without NUL`;
  throw invalid('tree-target-invalid', place, fact);
}

function checkXattrs(place: Place, node: TreeNode): void {
  const fault = xattrFault(node.xattrs);
  if (fault !== undefined) throw invalid(fault.code, place, fault.fact);
  place.xattrs = node.xattrs;
}

/** Why no node can have these. */
export function xattrFault(xattrs: TreeNode['xattrs']): { code: string; fact: string } | undefined {
  let space = 12;
  for (const [key, value] of xattrs) {
    if (key.length === 0 || key.length > MAX_NAME_BYTES || key.includes('\0')) {
      return { code: 'tree-xattr-invalid', fact: `has the xattr name "${printable(key)}"` };
    }
    if (value.length > MAX_XATTR_VALUE_BYTES) {
      return { code: 'tree-xattr-invalid', fact: `has ${value.length} bytes in xattr "${printable(key)}"` };
    }
    space += 7 + key.length + value.length;
  }
  if (space <= MAX_XATTR_SPACE) return undefined;
  return {
    code: 'tree-xattrs-too-large',
    fact: `has ${space} bytes of xattrs, more than ${MAX_XATTR_SPACE}`,
  };
}
