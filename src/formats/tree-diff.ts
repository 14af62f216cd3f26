/** What differs between two trees, path by path, in the order in which a dump lists them. */

import { equalBytes } from './bytes.ts';
import type { ByteString } from './encoding.ts';
import {
  isExternal,
  resolveHardlink,
  S_IFBLK,
  S_IFCHR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type TreeNode,
} from './tree.ts';

/** `digest`: one of them names none. `backing`: only the path of the backing file differs. `links`: other hard links. */
export type Aspect =
  | 'type'
  | 'content'
  | 'digest'
  | 'backing'
  | 'mode'
  | 'owner'
  | 'time'
  | 'xattr'
  | 'links';

export interface AspectChange {
  readonly aspect: Aspect;
  /** Of an xattr. */
  readonly name?: ByteString;
  /** Of links: the first path of the file on either side, where it has several. */
  readonly firstNames?: readonly [before: ByteString | undefined, after: ByteString | undefined];
}

export interface TreeDifference {
  /** From the root, which is "/". */
  readonly path: ByteString;
  /** The node of either side, hard links resolved; one of them is missing where the path was added or removed. */
  readonly before?: TreeNode;
  readonly after?: TreeNode;
  /** Not empty when both are there. */
  readonly changes: readonly AspectChange[];
}

/** All differences, found as they are asked for: the first one costs no more than it takes to find it. */
export function* diffTrees(before: TreeNode, after: TreeNode): Generator<TreeDifference, void> {
  const links = { before: firstNames(before), after: firstNames(after) };
  yield* diffNodes('' as ByteString, before, after, links);
}

interface Links {
  readonly before: ReadonlyMap<TreeNode, ByteString>;
  readonly after: ReadonlyMap<TreeNode, ByteString>;
}

/** The first path of every node that has more than one. */
function firstNames(root: TreeNode): Map<TreeNode, ByteString> {
  const targets = new Set<TreeNode>();
  const names = new Map<TreeNode, ByteString>();
  visit(root, '' as ByteString, (node) => {
    const target = node.hardlink === undefined ? undefined : resolveHardlink(node);
    if (target !== undefined) targets.add(target);
  });
  if (targets.size === 0) return names;
  visit(root, '' as ByteString, (node, path) => {
    const target = resolveHardlink(node);
    if (target !== undefined && targets.has(target) && !names.has(target)) names.set(target, path);
  });
  return names;
}

function visit(node: TreeNode, path: ByteString, see: (node: TreeNode, path: ByteString) => void): void {
  see(node, path);
  for (const name of sortedNames(node))
    visit(node.children?.get(name) as TreeNode, `${path}/${name}` as ByteString, see);
}

function sortedNames(node: TreeNode): ByteString[] {
  return node.children === undefined ? [] : [...node.children.keys()].sort();
}

function* diffNodes(
  path: ByteString,
  beforeName: TreeNode | undefined,
  afterName: TreeNode | undefined,
  links: Links,
): Generator<TreeDifference, void> {
  const before = beforeName && resolveHardlink(beforeName);
  const after = afterName && resolveHardlink(afterName);
  const shown = (path === '' ? '/' : path) as ByteString;
  if (before === undefined || after === undefined) {
    yield { path: shown, ...(before && { before }), ...(after && { after }), changes: [] };
  } else {
    const changes = compareNodes(before, after);
    const firstNames = [links.before.get(before), links.after.get(after)] as const;
    // The link count of a directory follows from its entries.
    const hasEntries = before.children !== undefined || after.children !== undefined;
    const sameCount = hasEntries || before.nlink === after.nlink;
    if (!sameCount || firstNames[0] !== firstNames[1]) changes.push({ aspect: 'links', firstNames });
    // An object of ostree is named after owner, mode and xattrs, too: its path is worth a word only when nothing else is.
    const sameBacking = (before.mode & S_IFMT) !== S_IFREG || before.payload === after.payload;
    if (changes.length === 0 && !sameBacking) changes.push({ aspect: 'backing' });
    if (changes.length > 0) yield { path: shown, before, after, changes };
  }
  const names = new Set([...(before ? sortedNames(before) : []), ...(after ? sortedNames(after) : [])]);
  for (const name of [...names].sort()) {
    const below = `${path}/${name}` as ByteString;
    yield* diffNodes(below, before?.children?.get(name), after?.children?.get(name), links);
  }
}

function compareNodes(a: TreeNode, b: TreeNode): AspectChange[] {
  const changes: AspectChange[] = [];
  const type = a.mode & S_IFMT;
  if (type === (b.mode & S_IFMT)) {
    const data = compareData(a, b, type);
    if (data !== undefined) changes.push({ aspect: data });
  } else {
    changes.push({ aspect: 'type' });
  }
  if ((a.mode & ~S_IFMT) !== (b.mode & ~S_IFMT)) changes.push({ aspect: 'mode' });
  if (a.uid !== b.uid || a.gid !== b.gid) changes.push({ aspect: 'owner' });
  if (a.mtimeSec !== b.mtimeSec || a.mtimeNsec !== b.mtimeNsec) changes.push({ aspect: 'time' });
  for (const name of [...new Set([...a.xattrs.keys(), ...b.xattrs.keys()])].sort()) {
    const [value, other] = [a.xattrs.get(name), b.xattrs.get(name)];
    const same = value !== undefined && other !== undefined && equalBytes(value, other);
    if (!same) changes.push({ aspect: 'xattr', name });
  }
  return changes;
}

function compareData(a: TreeNode, b: TreeNode, type: number): Aspect | undefined {
  if (type === S_IFLNK) return a.payload === b.payload ? undefined : 'content';
  if (type === S_IFBLK || type === S_IFCHR) return a.rdev === b.rdev ? undefined : 'content';
  if (type !== S_IFREG) return undefined;
  if (a.size !== b.size) return 'content';
  if (a.content !== undefined && b.content !== undefined) {
    return equalBytes(a.content, b.content) ? undefined : 'content';
  }
  if (isExternal(a) !== isExternal(b)) return 'content';
  if (a.digest !== undefined && b.digest !== undefined) {
    return a.digest === b.digest ? undefined : 'content';
  }
  if (a.digest !== b.digest) return 'digest';
  return a.payload === b.payload ? undefined : 'content';
}
