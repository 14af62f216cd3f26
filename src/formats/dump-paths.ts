/**
 * Where the lines of a dump go: from paths to a tree. In a dump that was printed, most lines belong to the directory of
 * the line before, or to one around it: only the last name of a path becomes text, and nothing is looked up.
 */

import { cutAtNul, type Line, malformed, unescapeField } from './dump-fields.ts';
import { type ByteString, printable, toByteString } from './encoding.ts';
import type { SealrootError } from './errors.ts';
import { isValidName, MAX_DEPTH, MAX_NAME_BYTES, MAX_PAYLOAD_BYTES, type TreeNode } from './tree.ts';

interface Folder {
  /** Bytes of its path, without a slash behind it: that of / is empty. */
  readonly pathBytes: number;
  readonly names: Map<ByteString, TreeNode>;
  readonly parent: Folder | undefined;
  /** How many directories it is in. */
  readonly depth: number;
}

/** With the line that is read. */
export interface DumpTree extends Line {
  line: number;
  root: TreeNode | undefined;
  /** The one that the line before belongs to. */
  folder: Folder | undefined;
  /** The one that was added last, below the other or what was that then. */
  newest: Folder | undefined;
  /** Its path as the dump has it, of which both paths and those around them are the beginning. What is longer is found by name. */
  readonly path: Uint8Array;
  links: { node: TreeNode; target: ByteString; line: number }[];
  /** Whether validateTree() can find nothing, besides in links. */
  isOrdinary: boolean;
}

export function emptyTree(): Pick<DumpTree, 'root' | 'folder' | 'newest' | 'path' | 'links' | 'isOrdinary'> {
  return {
    root: undefined,
    folder: undefined,
    newest: undefined,
    path: new Uint8Array(MAX_PAYLOAD_BYTES + 1),
    links: [],
    isOrdinary: true,
  };
}

/** Whether the dump has the first bytes of `text` at this place. */
export function isSame(text: Uint8Array, bytes: number, dump: Uint8Array, at: number): boolean {
  for (let i = 0; i < bytes; i++) if (text[i] !== dump[at + i]) return false;
  return true;
}

/** The path stands from `start` to `end`, and the last name of it at `nameAt`. */
export function addNode(tree: DumpTree, node: TreeNode, start: number, nameAt: number, end: number): void {
  const { dump } = tree;
  const folder = folderAt(tree, start, nameAt - 1);
  const name = toByteString(dump, nameAt, end);
  if (folder === undefined || !isPlainName(tree, name)) {
    addByPath(tree, node, cutAtNul(tree, unescapeField(tree, start, end, 'path')));
    return;
  }
  if (!isNew(folder.names, name, node)) throw repeated(tree, toByteString(dump, start, end));
  const { children: names } = node;
  if (names === undefined) return;
  const depth = folder.depth + 1;
  const pathBytes = end - start;
  if (depth > MAX_DEPTH) tree.isOrdinary = false;
  for (let at = folder.pathBytes; at < pathBytes; at++) tree.path[at] = dump[start + at] as number;
  tree.newest = { pathBytes, names, parent: folder, depth };
}

/** Of what has neither space nor slash. */
function isPlainName({ hasEscapes }: DumpTree, name: ByteString): boolean {
  const { length } = name;
  if (length === 0 || length > MAX_NAME_BYTES || name === '.' || name === '..') return false;
  return !hasEscapes || !name.includes('\\');
}

/** The directory that was added last, or that of the line before, or one around it, whose path stands from `start` to `end`. */
function folderAt(tree: DumpTree, start: number, end: number): Folder | undefined {
  const { path, dump, newest } = tree;
  const bytes = end - start;
  let folder = newest !== undefined && newest.pathBytes === bytes ? newest : tree.folder;
  while (folder !== undefined && folder.pathBytes > bytes) folder = folder.parent;
  if (folder === undefined || folder.pathBytes < bytes || !isSame(path, bytes, dump, start)) return undefined;
  tree.folder = folder;
  return folder;
}

/** Puts it there; whether there was no such name. */
function isNew(names: Map<ByteString, TreeNode>, name: ByteString, node: TreeNode): boolean {
  const before = names.size;
  names.set(name, node);
  return names.size > before;
}

function repeated(tree: DumpTree, path: ByteString): SealrootError {
  return malformed(tree, 'path', `"${printable(path)}" is repeated`);
}

/** Of a path in any form, and in any folder. */
function addByPath(tree: DumpTree, node: TreeNode, path: ByteString): void {
  const { root } = tree;
  if (path === '/') {
    if (root !== undefined) throw malformed(tree, 'path', '/ stands on an earlier line, too');
    const { children: names } = node;
    if (names === undefined) throw malformed(tree, 'path', '/ is not a directory');
    tree.root = node;
    tree.folder = { pathBytes: 0, names, parent: undefined, depth: 0 };
    return;
  }
  // Who knows how deep it is.
  tree.isOrdinary = false;
  if (root === undefined) throw malformed(tree, 'path', `"${printable(path)}" stands before /`);
  const full = path.startsWith('/') && !path.includes('//') ? path : `/${path}`.replace(/\/+/g, '/');
  const nameAt = full.lastIndexOf('/') + 1;
  const name = full.slice(nameAt) as ByteString;
  const names = nodeAt(root, full.slice(0, nameAt))?.children;
  if (names === undefined) {
    throw malformed(tree, 'path', `"${printable(path)}" has no parent directory on an earlier line`);
  }
  if (!isValidName(name)) throw malformed(tree, 'path', `"${printable(path)}" does not end in a file name`);
  if (!isNew(names, name, node)) throw repeated(tree, full as ByteString);
}

/** By names with slashes between them, before and behind them. */
function nodeAt(root: TreeNode, path: string): TreeNode | undefined {
  let node: TreeNode | undefined = root;
  for (const name of path.split('/')) {
    if (name !== '') node = node?.children?.get(name as ByteString);
  }
  return node;
}

export function findTarget(tree: DumpTree, root: TreeNode, link: DumpTree['links'][number]): TreeNode {
  const node = nodeAt(root, link.target);
  if (node === undefined || node === link.node) {
    const fact = node === undefined ? 'does not exist' : 'is the link itself';
    throw malformed({ line: link.line }, 'hard link target', `"${printable(link.target)}" ${fact}`);
  }
  tree.line = link.line;
  return node;
}
